#!/usr/bin/env bash
# Tests of ./launch as its users meet it, with the program that was built before.
# Tests/LaunchTests/run.sh [WORD]   WORD: only tests with that word in their name
set -uo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
launch=$repository/launch
export CONVNN_PROGRAM=${CONVNN_PROGRAM:-$repository/.build/release/convnn}
[[ -x $CONVNN_PROGRAM ]] || { echo "No program at $CONVNN_PROGRAM: run ./launch build first."; exit 1; }
unset ${!SLURM_@}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A tiny run with everything random switched on: 3 steps an epoch.
tiny=(--dataset cifar10 --data_path "$repository/Tests/Golden" --resize 16 --patch_size 8
  --num_layers 1 --num_heads 2 --d_hidden 16 --d_mlp 16 --batch_size 20 --shards 8 --micro_batch 2
  --augment --noise 0.1 --num_epochs 9 --max_steps 8 --checkpoint_every 2 --log_every 1 --no_progress)

# ---- assertions --------------------------------------------------------------------------------

problems=()
problem() { problems+=("$*"); }
equals() { [[ $2 == "$3" ]] || problem "$1: $2, expected $3"; }
contains() { [[ $2 == *"$3"* ]] || problem "$1: no \"$3\" in: $2"; }
lacks() { [[ $2 != *"$3"* ]] || problem "$1: \"$3\" in: $2"; }
exists() { [[ -e $1 ]] || problem "$1 is missing"; }

# Runs ./launch with the arguments; sets code, out (stdout) and err (stderr).
run() {
  "$launch" "$@" >"$folder/stdout" 2>"$folder/stderr" && code=0 || code=$?
  out=$(<"$folder/stdout") err=$(<"$folder/stderr")
}

# Starts it instead; `finish` waits.
start() {
  "$launch" "$@" >"$folder/stdout" 2>"$folder/stderr" &
  launched=$!
}
finish() {
  wait "$launched" && code=0 || code=$?
  out=$(<"$folder/stdout") err=$(<"$folder/stderr")
}

# Waits until the command succeeds, at most $1 seconds.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS <= deadline)) || { problem "not within the time: $*"; return 1; }
    sleep 0.05
  done
}

# Processes with $1 among their words, and optionally with $2 as the end of their program's name. (mpirun becomes
# prterun in version 5.)
processes() {
  local file words
  for file in /proc/[0-9]*/cmdline; do
    mapfile -d '' -t words 2>/dev/null <"$file" || continue
    [[ " ${words[*]} " == *" $1 "* && ${words[0]-} == *"${2-}" ]] || continue
    file=${file#/proc/}
    echo "${file%/cmdline}"
  done
}
no_processes() { [[ -z $(processes "$1") ]]; }

status() { sed -n "s/.*\"$2\":\"\{0,1\}\([^\",}]*\).*/\1/p" "$1/status.json"; }
reached() { [[ -r $1/metrics.jsonl ]] && grep -q "\"step\":$2," "$1/metrics.jsonl"; }
weights() { cksum <"$1/model.safetensors"; }
# Weights of the run that nothing disturbs. The first test that wants them makes it.
undisturbed() {
  {
    flock 9
    [[ -e $work/whole/model.safetensors ]] ||
      "$launch" -np 1 "${tiny[@]}" --output_dir "$work/whole" 2>/dev/null 9>&-
  } 9>"$work/whole.lock"
  weights "$work/whole"
}

# A program of our own, to stand in for another: $1 is its name, standard input its text. An mpirun is of version
# $open_mpi, or else of 4.
stand_in() {
  mkdir -p "$folder/bin"
  {
    echo '#!/usr/bin/env bash'
    # The launcher asks every mpirun.
    [[ $1 != mpirun ]] || echo '[[ $1 != --version ]] || { echo "mpirun (Open MPI) '"${open_mpi:-4.1.4}"'"; exit; }'
    cat
  } >"$folder/bin/$1"
  chmod +x "$folder/bin/$1"
}

# ---- the plan ----------------------------------------------------------------------------------

# A container's quota counts beside the number of cores, so that tests cannot choose that.
has_quota() { [[ -r /sys/fs/cgroup/cpu.max && $(</sys/fs/cgroup/cpu.max) != max* ]]; }

test_ranks_follow_cores_and_threads() {
  local first cores
  first=$(taskset -pc $$ | sed 's/.*: \([0-9]*\).*/\1/')
  out=$(taskset -c "$first" "$launch" --dry_run train 2>&1)
  contains 'one core' "$out" 'mpirun -np 1 '
  contains 'bound to none' "$out" '--bind-to none'
  contains 'slots' "$out" '--host localhost:1 '
  lacks 'one core' "$out" oversubscribe
  if ! has_quota; then
    cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
    contains 'OpenMP has no say' "$(OMP_NUM_THREADS=1 "$launch" --dry_run --shards 4096)" "-np $cores "
  fi
  out=$(taskset -c "$first" "$launch" --dry_run -np 3 2>&1)
  contains 'three ranks' "$out" '-np 3 '
  contains 'yields' "$out" '--oversubscribe --mca mpi_yield_when_idle 1'
  contains 'says so' "$out" '3 ranks x 1 threads share 1 cores'
  out=$(taskset -c "$first" "$launch" --dry_run --threads 2 2>&1)
  contains 'two threads' "$out" '-np 1 '
  contains 'threads reach the program' "$out" '--threads 2'
}

test_options_in_any_spelling() {
  local words
  for words in '-np 3' '-n 3' '--ranks 3' '--ranks=3' '-np=3' '-np 7 -np 3'; do
    # shellcheck disable=SC2086
    contains "$words" "$("$launch" --dry_run $words 2>&1)" 'mpirun -np 3 '
  done
  contains 'leading zero' "$("$launch" --dry_run -np 08 2>&1)" 'mpirun -np 8 '
  out=$("$launch" --dry-run --stall-timeout=7 --mpi-args '--mca a b' -np 1 --max-restarts 1 2>&1)
  contains 'stall_timeout' "$out" '--stall_timeout 7'
  contains 'mpi_args' "$out" '--mca a b '
  for words in 0.5 .5 2.25 7. 1e3; do
    contains 'a part of a second' "$("$launch" --dry_run -np 1 --stall_timeout "$words")" "--stall_timeout $words"
  done
  lacks 'max_restarts is the launcher'"'"'s' "$out" restarts
}

test_flags_reach_the_program_untouched() {
  run --dry_run -np 1 --output_dir 'a b' --lr=-1 --no-shuffle --layer KvtAttention
  contains 'train' "$out" "$CONVNN_PROGRAM train --output_dir a\\ b --lr=-1 --no-shuffle --layer"
  run -np 1 --dry_run evaluate --checkpoint x
  contains 'evaluate' "$out" "$CONVNN_PROGRAM evaluate --checkpoint x"
  run --dry_run
  contains 'demonstration' "$out" '--dataset shapes'
}

test_hosts() {
  run --dry_run --host a:2,b:3
  contains 'host list' "$out" '-np 5 '
  contains 'host list' "$out" '--host a:2\,b:3'
  lacks 'host list' "$out" btl
  for word in OPENBLAS_NUM_THREADS OMP_NUM_THREADS CONVNN_ATTEMPT; do
    contains 'environment' "$out" "-x $word "
  done
  contains 'folder' "$out" "--wdir $PWD"
  printf '# ours\nnode-a slots=2 max_slots=9 # fast\n\n node-b\tslots=4\nnode-c\n' >"$folder/hosts"
  run --dry_run --hostfile "$folder/hosts"
  contains 'hostfile' "$out" '-np 7 '
  contains 'hostfile' "$out" "--hostfile $folder/hosts"
  run --dry_run --host a:2 -np 3
  contains 'more ranks than slots' "$out" '--oversubscribe'
  contains 'more ranks than slots' "$err" '3 ranks share 2 slots'
}

test_a_parameter_of_the_users_is_not_given_twice() {
  # mpirun refuses that.
  run --dry_run -np 2 --mpi_args '--mca btl self,tcp'
  contains 'his' "$out" '--mca btl self\,tcp'
  lacks 'ours' "$out" vader
  contains 'the others' "$out" '--mca pml ob1'
  out=$(OMPI_MCA_pml=ucx "$launch" --dry_run -np 2 2>&1)
  lacks 'from the environment' "$out" pml
  run --dry_run --host a:2,b:3 --mpi_args '--mca oob_tcp_keepalive_time 9'
  lacks 'many hosts' "$out" 'keepalive_time 60'
  contains 'many hosts' "$out" 'keepalive_probes 4'
}

test_open_mpi_5_has_other_names() {
  open_mpi=5.0.7 stand_in mpirun </dev/null
  PATH=$folder/bin:$PATH run --dry_run -np 64
  contains 'one host' "$out" '--mca btl self\,vader'
  contains 'one host' "$out" '--oversubscribe --mca mpi_yield_when_idle 1'
  PATH=$folder/bin:$PATH run --dry_run --host a:2,b:3
  contains 'many hosts' "$out" '--prtemca oob_tcp_keepalive_time 60'
  lacks 'many hosts' "$out" orte
  PATH=$folder/bin:$PATH run --dry_run --host a:2,b:3 --mpi_args '--prtemca oob_tcp_keepalive_time 9'
  lacks 'his' "$out" 'keepalive_time 60'
  contains 'the others' "$out" '--prtemca oob_tcp_keepalive_probes 4'
  out=$(PATH=$folder/bin:$PATH PRTE_MCA_oob_tcp_keepalive_time=9 "$launch" --dry_run --host a:2,b:3 2>&1)
  lacks 'from the environment' "$out" 'keepalive_time 60'
  out=$(PATH=$folder/bin:$PATH SLURM_JOB_ID=7 SLURM_NTASKS=4 "$launch" --dry_run 2>&1)
  contains 'its helper in Slurm' "$out" '--prtemca prte_launch_agent env\ --block-signal=TERM\ prted'
}

test_quotes_hold_words_for_mpirun_together() {
  # shellcheck disable=SC2016
  run --dry_run -np 1 --mpi_args $'-x A=\'b  c\' "-x" ""  D="it\'s"\\ E\n--mca pml_base_verbose 1 \'$(touch f)\''
  contains 'words' "$out" " -x A=b\\ \\ c -x '' D=it\\'s\\ E --mca pml_base_verbose 1 \\$\\(touch\\ f\\) "
  run --dry_run -np 1 --mpi_args "-x A='b btl c'"
  contains 'no parameter of the user' "$out" '--mca btl '
}

# Stand-ins that make 10.1.0.1 this host's address, and tell the addresses of some others.
network() {
  stand_in ssh <<<'[[ $1 == -G ]] && echo "hostname ${2/alias/near}"'
  stand_in getent <<<'case $2 in
    near) echo 10.1.0.2 STREAM near ;; near-too) echo 10.1.7.3 STREAM ;; far) echo 10.9.0.2 STREAM ;;
    own) echo 10.1.0.1 STREAM ;; *) exit 2 ;; esac'
  stand_in hostname <<<'echo "10.1.0.1 172.17.0.1 "'
  stand_in ip <<<'case "$*" in
    *"route get"*) echo "${!#} dev eth0 src 10.1.0.1 uid 0" ;;
    *"to 10.1.0.1/32"*) echo "2: eth0    inet 10.1.0.1/16 brd 10.1.255.255 scope global eth0" ;; esac'
}

test_messages_keep_to_the_network_of_the_hosts() {
  network
  stand_in mpirun </dev/null
  local part
  PATH=$folder/bin:$PATH run --dry_run --host own:2,near:2,near-too:1,alias:1
  for part in btl oob; do contains 'one network' "$out" "--mca ${part}_tcp_if_include 10.1.0.1/16 "; done
  PATH=$folder/bin:$PATH run --dry_run --host near:2,far:2
  lacks 'behind a router' "$out" if_include
  PATH=$folder/bin:$PATH run --dry_run --host near:2,nobody:2
  lacks 'a host without an address' "$out" if_include
  PATH=$folder/bin:$PATH run --dry_run --host own:2,localhost:1
  lacks 'no other host' "$out" if_include
  PATH=$folder/bin:$PATH run --dry_run --host near:2 --mpi_args '--mca btl_tcp_if_exclude docker0'
  lacks 'the choice of the user' "$out" btl_tcp_if_include
  contains 'the choice of the user' "$out" oob_tcp_if_include
  open_mpi=5.0.7 stand_in mpirun </dev/null
  PATH=$folder/bin:$PATH run --dry_run --host near:2
  contains 'version 5' "$out" '--mca btl_tcp_if_include 10.1.0.1/16 '
  lacks 'version 5' "$out" oob_tcp_if
}

test_slurm() {
  out=$(SLURM_JOB_ID=7 SLURM_NTASKS=5 "$launch" --dry_run train 2>&1)
  contains 'tasks' "$out" '-np 5 '
  lacks 'hosts are for Slurm to name' "$out" --host
  contains 'environment' "$out" '-x OPENBLAS_NUM_THREADS '
  out=$(SLURM_JOB_ID=7 "$launch" --dry_run train 2>&1)
  lacks 'no number of tasks' "$out" ' -np '
  out=$(SLURM_JOB_ID=7 SLURM_TASKS_PER_NODE='2(x3),1' "$launch" --dry_run train 2>&1)
  contains 'tasks of every node' "$out" '-np 7 '
  out=$(SLURM_JOB_ID=7 SLURM_TASKS_PER_NODE='2(x2)' "$launch" --dry_run -np 3 2>&1)
  contains 'fewer ranks' "$out" '-np 3 '
  lacks 'fewer ranks' "$out" oversubscribe
  out=$(SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_TASKS_PER_NODE='2(x2)' "$launch" --dry_run -np 6 2>&1)
  contains 'more ranks' "$out" '--oversubscribe --mca mpi_yield_when_idle 1'
  contains 'more ranks' "$out" '6 ranks share the 4 tasks of the allocation'
}

test_slurm_gives_cpus_to_a_task() {
  export SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_CPUS_PER_TASK=3
  run --dry_run train
  contains 'threads' "$out" '--threads 3'
  equals 'messages' "$err" ''
  run --dry_run --threads 2 train
  contains 'options win' "$out" '--threads 2'
  SLURM_CPUS_PER_TASK=8 run --dry_run train
  contains 'shards of a batch' "$out" '--threads 4'
  contains 'shards of a batch' "$err" '16 of 32 CPUs compute, as the batch of 256 has 16 shards. For more of them: --shards 32 '
  SLURM_CPUS_PER_TASK=8 run --dry_run train --batch_size 64
  contains 'a small batch' "$out" '4 ranks x 2 threads'
  contains 'a small batch' "$err" '8 of 32 CPUs compute, as the batch of 64 has 8 shards'
  SLURM_NTASKS=12 run --dry_run train --batch_size 64
  contains 'more tasks than shards' "$out" '8 ranks x 1 threads'
  contains 'more tasks than shards' "$err" '8 of 36 CPUs compute'
  SLURM_NTASKS=12 run --dry_run train --threads 2 --batch_size 64
  contains 'threads are asked for' "$out" '4 ranks x 2 threads'
  SLURM_NTASKS=12 run --dry_run -np 12 train --batch_size 64
  contains 'ranks are asked for' "$out" '12 ranks x 1 threads'
  equals 'ranks are asked for' "$err" ''
  SLURM_CPUS_PER_TASK=8 run --dry_run train --shards 64
  contains 'more shards' "$out" '--threads 8'
  stand_in mpirun <<<'env >"$folder/environment"'
  folder=$folder SRUN_CPUS_PER_TASK=3 PATH=$folder/bin:$PATH run train --output_dir "$folder/run"
  lacks 'helpers on other nodes get all CPUs' "$(<"$folder/environment")" CPUS_PER_TASK
  contains 'helpers on other nodes may share them' "$(<"$folder/environment")" SLURM_OVERLAP=1
  unset SLURM_JOB_ID
  run --dry_run -np 4 train
  contains 'no allocation' "$out" '--threads 1'
  unset SLURM_NTASKS SLURM_CPUS_PER_TASK
}

test_slurm_started_it_as_often_as_there_are_tasks() {
  export SLURM_JOB_ID=7 SLURM_NTASKS=2 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0
  run --dry_run train </dev/null
  equals 'exit code' "$code" 10
  contains 'message' "$err" 'srun has started ./launch 2 times'
  SLURM_PROCID=1 run --dry_run train </dev/null
  equals 'the other: exit code' "$code" 10
  equals 'the other is silent' "$err" ''
  unset SLURM_JOB_ID SLURM_NTASKS SLURM_STEP_NUM_TASKS SLURM_PROCID
}

# ---- mistakes ----------------------------------------------------------------------------------

# mistake CODE WORD ARGUMENTS…: ends with the code and one message with the word in it.
mistake() {
  local expected=$1 word=$2
  shift 2
  run "$@"
  equals "exit code of $*" "$code" "$expected"
  contains "$*" "$err" "$word"
  equals "messages of $*" "$(grep -c '^Error: ' <<<"$err")" 1
  lacks "$*" "$err" 'terminated normally'
  (($(wc -l <<<"$err") <= 6)) || problem "$*: more than six lines: $err"
}

test_run_options_that_cannot_be() {
  mistake 2 '--ranks is two' --ranks two
  mistake 2 '-np needs a value' --dry_run -np
  mistake 2 '--threads is empty' --threads ''
  mistake 2 '--ranks is 99999999999' --ranks 99999999999
  mistake 10 '-np is 0' -np 0
  mistake 10 '--grace is -1' --grace -1
  mistake 2 '--stall_timeout is 5s' --stall_timeout 5s
  mistake 2 '--stall_timeout is .' --stall_timeout .
  mistake 10 '--stall_timeout is 0.0' --stall_timeout 0.0
  mistake 10 '--stall_timeout is -0.5' --stall_timeout -0.5
  mistake 2 "a quote or a backslash without an end, at 'b c" --mpi_args "-x A='b c"
  mistake 2 'without an end, at "' --mpi_args "'a'\""
  mistake 2 'without an end' --mpi_args '\'
  mistake 10 '--min_ranks is 0' --min_ranks=0
  mistake 10 'a:2,b:2' --host 'a b'
  mistake 10 'nowhere cannot be read' --hostfile nowhere
  printf 'node-a slots=2\nnode-b slots=many\n' >"$folder/hosts"
  mistake 10 'line 2: node-b slots=many' --hostfile "$folder/hosts"
  echo '# nobody' >"$folder/hosts"
  mistake 10 'names no host' --hostfile "$folder/hosts"
  echo 'node-a:2' >"$folder/hosts"
  mistake 10 'line 1: node-a:2' --hostfile "$folder/hosts"
  mistake 10 'cannot be read' --hostfile "$folder"
  mistake 10 'no slots' --host node-a:0
  mistake 10 'both name hosts' --host node-a:2 --hostfile "$folder/hosts"
  mistake 10 '--min_ranks is 5' -np 2 --min_ranks 5
  SLURM_JOB_ID=7 mistake 10 'Slurm names the hosts of job 7' --host node-a:2
  SLURM_JOB_ID=7 mistake 10 'Slurm names the hosts of job 7' --hostfile "$folder/hosts"
  touch "$folder/file"
  mistake 10 "$folder/file/logs cannot be made" -np 2 --per_rank_logs --output_dir "$folder/file"
}

test_help_names_every_command() {
  local command commands
  run --help
  equals 'exit code' "$code" 0
  commands=$("$CONVNN_PROGRAM" --help | sed -n '/^SUBCOMMANDS/,/^$/s/^  \([a-z]*\) .*/\1/p')
  contains 'commands of the program' "$commands" fuzz
  for command in $commands; do contains 'help' "$(tr '|]' '  ' <<<"$out")" " $command "; done
}

test_swift_that_is_too_old_or_none() {
  local version
  stand_in swift <<<'echo "$version"'
  stand_in dpkg-query <<<'echo install ok installed'
  export version
  for version in 'Swift version 5.9 (swift-5.9-RELEASE)' 'Swift version 6.1.2 (swift-6.1.2-RELEASE)'; do
    PATH=$folder/bin:$PATH run doctor
    equals "$version: doctor" "$code" 10
    contains "$version: doctor" "$out" "problem  Swift: $folder/bin/swift is Swift ${version:14:3}, Swift 6.2 or later is needed"
    contains "$version: doctor" "$out" swift.org/install
    PATH=$folder/bin:$PATH mistake 10 "$folder/bin/swift is Swift ${version:14:3}, Swift 6.2 or later is needed" setup
    contains "$version: setup" "$err" swift.org/install
  done
  version='python-swiftclient 4.6.0' PATH=$folder/bin:$PATH mistake 10 'does not tell a version of Swift' setup
  for version in 'Swift version 6.2 (swift-6.2-RELEASE)' 'Swift version 6.10-dev (LLVM a1b2, Swift c3d4)' \
    $'swift-driver version: 1.127 Apple Swift version 7.0 (swiftlang-7.0.0.1)\nTarget: x86_64'; do
    PATH=$folder/bin:$PATH run setup
    equals "$version: setup" "$code" 0
    PATH=$folder/bin:$PATH run doctor
    contains "$version: doctor" "$out" "ok       Swift: ${version%$'\n'*}"
  done
  unset version
}

test_an_mpi_that_is_not_open_mpi_4_or_5() {
  local version shown
  # Its answer is what the test wants.
  stand_in mpirun </dev/null
  printf '%s\n' '#!/usr/bin/env bash' 'echo "$version"; exit "${fails-0}"' >"$folder/bin/mpirun"
  stand_in swift <<<'echo "Swift version 7.0 (swift-7.0-RELEASE)"'
  stand_in dpkg-query <<<'echo install ok installed'
  export version
  for version in 'mpirun (Open MPI) 6.0.0' 'mpirun (Open MPI) 3.1.6' $'HYDRA build details:\n    Version:     4.0' \
    'Intel(R) MPI Library for Linux* OS, Version 2021.9 Build 20230306' 'mpirun: error while loading shared libraries'; do
    case $version in
      *Open*) shown="$folder/bin/mpirun is Open MPI ${version##* }, Open MPI 4 or 5 is needed" ;;
      HYDRA*) shown='of Open MPI but "HYDRA build details: Version: 4.0", Open MPI 4 or 5 is needed' ;;
      *) shown="$folder/bin/mpirun does not tell a version of Open MPI but \"$version\", Open MPI 4 or 5 is needed" ;;
    esac
    PATH=$folder/bin:$PATH mistake 10 "$shown" -np 1 --output_dir "$folder/run"
    contains "$version: what helps" "$err" 'swift build -c release'
    PATH=$folder/bin:$PATH mistake 10 "$shown" --dry_run -np 1
    PATH=$folder/bin:$PATH mistake 10 "$shown" setup
    PATH=$folder/bin:$PATH run doctor
    equals "$version: doctor" "$code" 10
    contains "$version: doctor" "$out" "problem  MPI: "
    contains "$version: doctor" "$out" "$shown"
  done
  for version in 'mpirun (Open MPI) 4.0.0' $'mpirun (Open MPI) 4.1.7a1\n\nReport bugs to' $'a warning\nmpirun (Open MPI) 4.1' \
    'mpirun (Open MPI) 5.0.7'; do
    PATH=$folder/bin:$PATH run --dry_run -np 1
    equals "$version: plan" "$code" 0
    PATH=$folder/bin:$PATH run setup
    equals "$version: setup" "$code" 0
  done
  contains 'doctor' "$("$launch" doctor)" 'ok       MPI: mpirun (Open MPI) '
  unset version
  rm "$folder/bin/mpirun"
  # Its path as it is, but for mpirun.
  local tool
  for tool in bash env readlink dirname find grep wc; do ln -s "$(command -v "$tool")" "$folder/bin/"; done
  PATH=$folder/bin mistake 10 'no mpirun on PATH, Open MPI 4 or 5 is needed' -np 1 --output_dir "$folder/run"
}

# A copy of what the launcher needs of the repository, with a compiler that leaves a program.
small_repository() {
  mkdir -p "$1/Sources/Program"
  cp -r "$launch" "$repository/Package.swift" "$1"
  cp -r "$repository/Sources/Setup" "$1/Sources"
  touch "$1/Sources/Program/main.swift"
  stand_in dpkg-query <<<'echo install ok installed'
  stand_in swift <<<'
    if [[ $1 == --version ]]; then echo "Swift version 7.0 (swift-7.0-RELEASE)"; exit; fi
    echo built >>"$folder/builds"
    mkdir -p .build/release
    eval "$meanwhile"
    sleep 0.05
    case ${!#} in
      convnn) printf "%s\n" "#!/bin/sh" "echo ran" >.build/release/convnn && chmod +x .build/release/convnn ;;
      convnn-launch) cp "$built_launcher" .build/release/convnn-launch && touch .build/release/convnn-launch ;;
    esac'
  export built_launcher=$repository/.build/release/convnn-launch
}

# Starts it once more; there have to have been $2 builds by now.
builds() {
  out=$(PATH=$folder/bin:$PATH env -u CONVNN_PROGRAM "$folder/Launcher-copy/launch" verify)
  equals "$1: the program" "$out" ran
  equals "$1: builds" "$(wc -l <"$folder/builds")" "$2"
}

test_help_and_dry_run_do_nothing() {
  local copy=$folder/Launcher-copy command words
  export folder meanwhile=''
  small_repository "$copy"
  stand_in program <<<'echo "$*" >>"$folder/ran"'
  mkdir -p "$copy/.build"
  for command in setup build test doctor clean; do
    out=$(PATH=$folder/bin:$PATH "$copy/launch" "$command" --help 2>&1)
    contains "$command --help" "$out" 'Run options:'
    for words in --dry_run --dry-run; do
      PATH=$folder/bin:$PATH "$copy/launch" "$command" "$words" >"$folder/stdout" 2>&1
      equals "$command $words: exit code" "$?" 0
    done
    case $command in
      build | test) contains "$command" "$(<"$folder/stdout")" 'swift build -c release' ;;
      clean) contains "$command" "$(<"$folder/stdout")" "rm -rf $copy/.build" ;;
    esac
  done
  exists "$copy/.build"
  for words in 'data cifar10 --data_path x' 'fuzz jpeg' 'verify --dir x' 'predict --help' 'train --help'; do
    # shellcheck disable=SC2086
    CONVNN_PROGRAM=$folder/bin/program run $words --dry_run
    equals "$words: exit code" "$code" 0
    contains "$words" "$out" "$folder/bin/program $words"
    # Without a launcher that would be built first.
    # shellcheck disable=SC2086
    out=$(PATH=$folder/bin:$PATH env -u CONVNN_PROGRAM "$copy/launch" $words --dry_run 2>&1)
    contains "$words, not built" "$out" 'swift build -c release'
    contains "$words, not built" "$out" 'not built yet'
  done
  [[ ! -e $folder/ran ]] || problem "the program ran: $(<"$folder/ran")"
  [[ ! -e $folder/builds ]] || problem 'it was built'
  unset meanwhile
}

test_the_demonstration_goes_on_where_a_signal_stopped_it() {
  local copy=$folder/Launcher-copy
  local demo=$copy/Output/demo demonstration
  export folder meanwhile=''
  small_repository "$copy"
  mkdir -p "$copy/.build/release"
  cp "$repository/.build/release/convnn-launch" "$copy/.build/release"
  demonstration=$("$copy/launch" --dry_run | sed -n 's/.* convnn train \(.*\) --output_dir .*/\1/p; s/.*convnn train \(.*\) --output_dir .*/\1/p')
  contains 'its flags' "$demonstration" '--dataset shapes'
  mkdir -p "$demo-001" "$demo-002"
  echo '{"state":"preempted","step":3,"epoch":1,"exit_code":15,"reason":"a signal"}' >"$demo-001/status.json"
  echo "$demonstration" | tee "$demo-001/.demonstration" >"$demo-002/.demonstration"
  contains 'not the newest' "$("$copy/launch" --dry_run)" "--output_dir $demo-003 "
  cp "$demo-001/status.json" "$demo-002"
  contains 'the newest' "$("$copy/launch" --dry_run)" "--output_dir $demo-002 "
  # The launcher promises it after a loss too.
  echo '{"state":"failed","step":3,"epoch":1,"exit_code":16,"reason":"lost"}' >"$demo-002/status.json"
  contains 'lost' "$("$copy/launch" --dry_run)" "--output_dir $demo-002 "
  echo --batch_size 8 >"$demo-002/.demonstration"
  contains 'of other flags' "$("$copy/launch" --dry_run)" "--output_dir $demo-003 "
  echo "$demonstration" >"$demo-002/.demonstration"
  echo '{"state":"done","step":3,"epoch":1,"exit_code":0,"reason":""}' >"$demo-002/status.json"
  contains 'done' "$("$copy/launch" --dry_run)" "--output_dir $demo-003 "
  # What never begins leaves no folder, whoever ends it.
  stand_in mpirun <<<'exit 10'
  PATH=$folder/bin:$PATH "$copy/launch" 2>/dev/null
  equals 'refused by the program' "$?" 10
  PATH=$folder/bin:$PATH "$copy/launch" --host , 2>/dev/null
  equals 'refused by the launcher' "$?" 10
  [[ ! -e $demo-003 ]] || problem 'it left a folder'
  stand_in mpirun <<<'until [[ $1 == --output_dir ]]; do shift; done; touch "$2/status.json"; exit 10'
  PATH=$folder/bin:$PATH "$copy/launch" 2>/dev/null
  equals 'of which flags' "$(<"$demo-003/.demonstration")" "$demonstration"
}

test_builds_when_a_source_is_newer() {
  local copy=$folder/Launcher-copy
  export folder meanwhile=''
  small_repository "$copy"
  builds 'launcher and program' 2
  builds 'nothing is new' 2
  touch "$copy/Sources/Setup/build.sh"
  builds 'what is not built' 2
  sleep 0.05
  touch "$copy/Sources/Program/main.swift"
  # Saved again while the build runs.
  meanwhile='sleep 0.05; touch Sources/Program/main.swift'
  builds 'a source is newer' 4
  meanwhile=''
  builds 'saved during the build' 6
  builds 'nothing is new any more' 6
  unset meanwhile
}

test_a_value_is_no_request_for_help() {
  run --dry_run -np 2 "${tiny[@]}" --output_dir help
  equals 'exit code' "$code" 0
  contains 'the plan' "$out" '2 ranks'
  [[ ! -e help ]] || problem 'it ran'
}

test_output_and_errors_may_be_closed() {
  timeout 60 "$launch" -np 2 "${tiny[@]}" --output_dir "$folder/run" >&- 2>&- && code=0 || code=$?
  equals 'exit code' "$code" 0
  equals 'state' "$(status "$folder/run" state)" 'done'
}

test_a_host_that_cannot_take_part() {
  # Host b runs what it is asked to, here; host c is not to be reached.
  stand_in mpirun <<<'echo "mpirun ran" >&2; exit 1'
  stand_in orted <<<'exit 0'
  stand_in ssh <<<'
    [[ $1 != -G ]] || exit 1
    [[ " $* " != *" c "* ]] || { echo "ssh: connect to host c port 22: No route to host" >&2; exit 255; }
    cd / && eval "$change" && exec "$BASH" -s'
  export change=''
  PATH=$folder/bin:$PATH mistake 10 'host c cannot be used: ssh: connect to host c port 22: No route to host' \
    --host localhost:1,b:1,c:1
  stand_in program <<<'exit 0'
  change="rm $folder/bin/program"
  CONVNN_PROGRAM=$folder/bin/program PATH=$folder/bin:$PATH \
    mistake 10 "host b has no program $folder/bin/program" --host b:1
  change="rm -rf '$folder/a place'"
  mkdir "$folder/a place"
  (cd "$folder/a place" && PATH=$folder/bin:$PATH "$launch" --host b:1 2>"$folder/stderr")
  contains 'no folder' "$(<"$folder/stderr")" "host b has no folder $folder/a place"
  change="rm $folder/bin/orted; PATH=$folder/bin"
  PATH=$folder/bin:$PATH mistake 10 "host b has no Open MPI of this host's version (orted) in $folder/bin or on PATH" \
    --host b:1
  change=:
  stand_in orted <<<'exit 0'
  PATH=$folder/bin:$PATH run --host b:1 --output_dir "$folder/run"
  contains 'nothing is missing' "$err" 'mpirun ran'
  PATH=$folder/bin:$PATH PBS_JOBID=7 run --host c:1 --output_dir "$folder/run"
  contains 'a batch system starts processes without ssh' "$err" 'mpirun ran'
}

test_the_programs_mistakes_stay_one_message() {
  mistake 2 --bogus -np 2 --bogus
  mistake 10 --batch_size -np 2 "${tiny[@]}" --batch_size 0 --output_dir "$folder/run"
  mistake 11 nowhere -np 2 "${tiny[@]}" --data_path nowhere --output_dir "$folder/run"
  [[ ! -e $folder/run ]] || problem 'a refused run left a folder'
}

# ---- whole runs --------------------------------------------------------------------------------

test_from_another_folder_through_a_link() {
  ln -s "$launch" "$folder/convnn"
  (cd "$folder" && ./convnn -np 2 "${tiny[@]}" --output_dir run) >"$folder/stdout" 2>&1
  equals 'exit code' "$?" 0
  equals 'weights' "$(weights "$folder/run")" "$(undisturbed)"
  equals 'state' "$(status "$folder/run" state)" 'done'
  equals 'exit_code' "$(status "$folder/run" exit_code)" 0
  contains 'its own program' "$(env -u CONVNN_PROGRAM "$folder/convnn" --dry_run)" \
    "$repository/.build/release/convnn train"
}

test_per_rank_logs() {
  run -np 2 --per_rank_logs "${tiny[@]}" --output_dir "$folder/run"
  equals 'exit code' "$code" 0
  contains 'still on the terminal' "$err" 'epoch   1'
  contains 'in the log of rank 0' "$(cat "$folder"/run/logs/rank.0/std*)" 'epoch   1'
  exists "$folder/run/logs/rank.1/stderr"
  # In a folder where the words would mean something to mpirun, and whoever ends the rank.
  run -np 2 --per_rank_logs "${tiny[@]}" --output_dir "$folder/a:b c" --inject kill:rank=1,step=3
  equals 'a killed rank' "$code" 16
  contains 'a killed rank' "$err" 'rank 1 on'
  contains 'a killed rank' "$(cat "$folder/a:b c/logs/rank.0/stderr")" 'parameters; '
  mkdir -p "$folder/file/logs"
  touch "$folder/file/logs/rank.1"
  run -np 2 --per_rank_logs "${tiny[@]}" --output_dir "$folder/file"
  equals 'a log that cannot be made' "$code" 0
  contains 'a log that cannot be made' "$err" "$folder/file/logs/rank.1"
}

test_per_rank_logs_of_every_attempt() {
  stand_in mpirun <<<'while (($#)); do [[ $1 != bash ]] || echo "$4" >>"$calls"; shift; done; exit 16'
  export calls=$folder/calls
  PATH=$folder/bin:$PATH run -np 1 --per_rank_logs --max_restarts 2 --output_dir "$folder/run"
  equals 'folders' "$(sed "s|^$folder/run/||" "$calls" | paste -sd' ')" \
    'logs logs/attempt-2 logs/attempt-3'
  exists "$folder/run/logs/attempt-3"
}

test_a_folder_that_begins_with_a_dash() {
  stand_in mpirun <<<'echo "Attention, 5 parameters; shapes" >&2; exit 16'
  mkdir -p "$folder/-dash"
  echo '{"state":"running","step":3,"epoch":1,"exit_code":0,"reason":""}' >"$folder/-dash/status.json"
  echo '<strong class="state running">running</strong>' >"$folder/-dash/report.html"
  (cd "$folder" && PATH=$folder/bin:$PATH "$launch" -np 1 --per_rank_logs --output_dir=-dash 2>stderr)
  equals 'exit code' "$?" 16
  err=$(<"$folder/stderr")
  contains 'message' "$err" 'last step 3'
  lacks 'usage of tools' "${err,,}" usage
  lacks 'usage of tools' "$err" option
  equals 'state' "$(status "$folder/-dash" state)" failed
  contains 'report' "$(<"$folder/-dash/report.html")" 'failed</strong>'
  exists "$folder/-dash/logs"
}

test_standard_input_is_left_alone() {
  # A loop over lines that calls ./launch must not lose its lines to it.
  local left
  left=$(printf 'one\ntwo\n' |
    ("$launch" -np 2 "${tiny[@]}" --output_dir "$folder/run" 2>"$folder/stderr" && cat))
  equals 'what is left' "$left" $'one\ntwo'
  "$launch" -np 2 "${tiny[@]}" --output_dir "$folder/closed" <&- 2>"$folder/stderr"
  equals 'closed: exit code' "$?" 0
  equals 'closed: weights' "$(weights "$folder/closed")" "$(undisturbed)"
}

test_nobody_reads_the_output() {
  # A pipe whose reading end is closed before the first word; three ranks are worth a note at once.
  mkfifo "$folder/pipe"
  exec 8<>"$folder/pipe" 9>"$folder/pipe" 8<&-
  "$launch" -np 3 "${tiny[@]}" --output_dir "$folder/run" >&9 2>&9
  equals 'exit code' "$?" 0
  exec 9>&-
  equals 'weights' "$(weights "$folder/run")" "$(undisturbed)"
}

test_two_runs_side_by_side() {
  "$launch" -np 2 "${tiny[@]}" --output_dir "$folder/a" 2>/dev/null &
  run -np 3 "${tiny[@]}" --output_dir "$folder/b"
  equals 'exit code of one' "$code" 0
  wait $!
  equals 'exit code of the other' "$?" 0
  equals 'weights of one' "$(weights "$folder/a")" "$(undisturbed)"
  equals 'weights of the other' "$(weights "$folder/b")" "$(undisturbed)"
}

test_mpis_own_sums_run_and_say_what_they_give_up() {
  local loss
  run -np 3 "${tiny[@]}" --reduce mpi --output_dir "$folder/run"
  equals 'exit code' "$code" 0
  contains 'note' "$err" '--reduce mpi gives up the promise of equal bits'
  undisturbed >/dev/null
  # The same sums but for their rounding: five digits of the last loss.
  loss='s/.*"step":8,"loss":\([0-9.]\{6\}\).*/\1/p'
  equals 'loss' "$(sed -n "$loss" "$folder/run/metrics.jsonl")" \
    "$(sed -n "$loss" "$work/whole/metrics.jsonl")"
  run -np 3 "${tiny[@]}" --output_dir "$folder/run"
  equals 'resumed with other sums: exit code' "$code" 10
  contains 'resumed with other sums' "$err" '--reduce: mpi in the checkpoint, invariant now'
}

# Kills at random moments, also in the middle of saving; every start finds a whole checkpoint.
test_killed_again_and_again() {
  local attempt run=$folder/run
  tiny+=(--checkpoint_every 1 --checkpoint_keep 1 --output_dir "$run")
  RANDOM=7
  for ((attempt = 0; attempt < 15; attempt++)); do
    "$CONVNN_PROGRAM" train "${tiny[@]}" --max_steps 4000 --log_every 1000 --num_epochs 9999 \
      2>>"$folder/stderr" &
    # The first checkpoint has to be there before anything can be lost.
    within 20 eval "compgen -G '$run/checkpoints/step-*[0-9]' >/dev/null"
    sleep "0.$((RANDOM % 400 + 100))"
    kill -KILL $! 2>/dev/null
    wait $! 2>/dev/null
    equals "code after attempt $attempt" "$?" 137
    lacks "attempt $attempt" "$(<"$folder/stderr")" Error
  done
  local last
  last=$(ls "$run/checkpoints" | sed -n 's/^step-0*\([0-9]*\)$/\1/p' | sort -n | tail -1)
  run -np 1 "${tiny[@]}" --max_steps "$((last + 1))" --log_every 1000 --num_epochs 9999
  equals 'exit code' "$code" 0
  cp "$run/model.safetensors" "$folder/broken.safetensors"
  run -np 1 "${tiny[@]}" --max_steps "$((last + 1))" --log_every 1000 --num_epochs 9999 \
    --resume never --checkpoint_every 0
  equals 'weights' "$(cksum <"$folder/broken.safetensors")" "$(weights "$run")"
}

# ---- lost ranks --------------------------------------------------------------------------------

test_a_killed_rank_ends_the_run() {
  run -np 2 "${tiny[@]}" --output_dir "$folder/run" --inject kill:rank=1,step=6
  equals 'exit code' "$code" 16
  contains 'message' "$err" "rank 1 on $(uname -n | cut -d. -f1)"
  contains 'message' "$err" 'was ended by signal 9 (Killed), last step 5'
  lacks 'mpirun is quiet' "$err" 'mpirun noticed'
  contains 'advice' "$err" --max_restarts
  equals 'state' "$(status "$folder/run" state)" failed
  equals 'exit_code' "$(status "$folder/run" exit_code)" 16
  equals 'step' "$(status "$folder/run" step)" 5
  contains 'reason' "$(status "$folder/run" reason)" 'signal 9'
  contains 'report' "$(<"$folder/run/report.html")" '<strong class="state failed">failed</strong>'
  run -np 3 "${tiny[@]}" --output_dir "$folder/run"
  equals 'the same command again' "$code" 0
  equals 'weights' "$(weights "$folder/run")" "$(undisturbed)"
}

test_restarts_give_the_same_bits() {
  local kind
  for kind in kill:rank=0 exit0:rank=1; do
    rm -rf "$folder/run"
    run -np 2 --max_restarts 1 "${tiny[@]}" --output_dir "$folder/run" --inject "$kind,step=5"
    equals "$kind: exit code" "$code" 0
    contains "$kind" "$err" 'Restart 1 of 1 on 2 ranks'
    equals "$kind: resumed" "$(grep -c '"event":"resume","step":4}' "$folder/run/metrics.jsonl")" 1
    equals "$kind: weights" "$(weights "$folder/run")" "$(undisturbed)"
    equals "$kind: state" "$(status "$folder/run" state)" 'done'
  done
  contains 'a rank that leaves without a word' "$err" 'rank 1 on'
  contains 'a rank that leaves without a word' "$err" 'ended before its work was done'
}

test_gives_up_after_the_last_restart() {
  stand_in program <<<'echo "$CONVNN_ATTEMPT" >>"$attempts"
    [[ $(wc -l <"$attempts") == *[$begins]* ]] && echo "Attention, 5 parameters; shapes" >&2; kill -SEGV $$'
  export attempts=$folder/attempts begins
  # The numbers of the attempts that begin, and what they were told.
  for begins in x/'0 0 0' 123/'0 1 2' 2/'0 0 1'; do
    rm -f "$attempts"
    begins=${begins%/*} CONVNN_PROGRAM=$folder/bin/program \
      run -np 1 --max_restarts 2 --output_dir "$folder/run"
    equals "$begins: exit code" "$code" 16
    equals "$begins: attempts" "$(paste -sd' ' "$attempts")" "${begins#*/}"
    contains "$begins: message" "$err" 'signal 11 (Segmentation fault)'
  done
  unset begins
}

test_a_restart_before_the_run_has_begun_does_not_go_on_with_another() {
  run -np 1 "${tiny[@]}" --max_steps 4 --output_dir "$folder/run"
  # The first one dies before it has begun, the second after its checkpoint of step 4.
  stand_in program <<<'echo >>"$calls"; case $(wc -l <"$calls") in
    1) kill -KILL $$ ;; *) exec "$genuine" "$@" ;; esac'
  export calls=$folder/calls
  genuine=$CONVNN_PROGRAM CONVNN_PROGRAM=$folder/bin/program run -np 1 --max_restarts 2 "${tiny[@]}" \
    --resume never --output_dir "$folder/run" --inject kill:rank=0,step=6
  equals 'exit code' "$code" 0
  equals 'attempts' "$(wc -l <"$calls")" 3
  equals 'starts' "$(grep -c '"event":"start"' "$folder/run/metrics.jsonl")" 1
  equals 'only what it saved itself' "$(grep -c '"event":"resume"' "$folder/run/metrics.jsonl")" 1
  equals 'steps before the loss' "$(grep -c '"step":1,' "$folder/run/metrics.jsonl")" 1
  contains 'lost at' "$err" 'last step 5'
}

test_a_kill_that_mpirun_tells_by_its_exit_code() {
  export -f frame
  export exits
  stand_in mpirun <<<'frame "Primary job  terminated normally, but 1 process returned" \
    "a non-zero exit code. Per user-direction, the job has been aborted." >&2; exit "$exits"'
  for exits in '137 was ended by signal 9 (Killed)' '139 was ended by signal 11 (Segmentation fault)' '1 died' '255 died'; do
    exits=${exits%% *} PATH=$folder/bin:$PATH run -np 2 --output_dir "$folder/run"
    equals "$exits: exit code" "$code" 16
    contains "$exits" "$err" "a rank or mpirun ${exits#* }, last step 0"
  done
  unset exits
}

test_mpi_args_that_mpirun_cannot_use() {
  local words
  # mpirun refuses the first ones itself; with the last one MPI fails within the ranks.
  for words in --bogus '--mca pml' word '--mca pml bogus'; do
    run -np 2 --mpi_args "$words" --max_restarts 2 "${tiny[@]}" --output_dir "$folder/run"
    equals "$words: exit code" "$code" 10
    contains "$words" "$err" "mpirun could not start the program with --mpi_args \"$words\""
    lacks "$words" "$err" Restart
    lacks "$words" "$err" 'goes on'
  done
  open_mpi=5.0.7 stand_in mpirun <<<'exit 14'
  PATH=$folder/bin:$PATH run -np 2 --output_dir "$folder/run"
  equals 'no stall' "$code" 16
  lacks 'no stall' "$err" stall
  open_mpi=5.0.7 stand_in mpirun <<<'exit 213'
  PATH=$folder/bin:$PATH mistake 10 'mpirun could not start the program with --mpi_args "--bogus"' \
    -np 2 --mpi_args --bogus --output_dir "$folder/run"
  # A rank that is lost early is no fault of theirs, nor is a run that has begun.
  stand_in mpirun <<<'[[ -z $begins ]] || echo "Attention, 5 parameters; shapes" >&2; exit "$exits"'
  export begins exits
  for words in '1 x' '137 '; do
    exits=${words% *} begins=${words#* } PATH=$folder/bin:$PATH run -np 1 --mpi_args '-x A=b' --output_dir "$folder/run"
    equals "$words: exit code" "$code" 16
    lacks "$words" "$err" mpi_args
  done
  unset begins exits
}

test_no_restart_after_a_mistake() {
  run -np 2 --max_restarts 3 "${tiny[@]}" --output_dir "$folder/run" --inject nan:rank=1,step=3
  equals 'exit code' "$code" 12
  lacks 'restart' "$err" Restart
  equals 'exit_code' "$(status "$folder/run" exit_code)" 12
}

test_a_test_in_the_folder_of_a_killed_run() {
  local flag
  stand_in program <<<'exit 0'
  mkdir -p "$folder/run"
  for flag in --test_only --test-only; do
    echo '{"state":"running","step":3,"epoch":1,"exit_code":0,"reason":""}' >"$folder/run/status.json"
    CONVNN_PROGRAM=$folder/bin/program run -np 1 "$flag" --output_dir "$folder/run"
    equals "$flag: exit code" "$code" 0
    equals "$flag: state" "$(status "$folder/run" state)" running
  done
  CONVNN_PROGRAM=$folder/bin/program run -np 1 --output_dir "$folder/run"
  equals 'training: exit code' "$code" 16
}

test_a_rank_that_stands_still() {
  run -np 3 --stall_timeout 2.5 "${tiny[@]}" --output_dir "$folder/run" --inject stop:rank=1,step=5
  equals 'exit code' "$code" 14
  contains 'warning' "$err" "has waited 1 s for rank 1 on $(uname -n) in step 5 ("
  contains 'message' "$err" "for rank 1 on $(uname -n)"
  equals 'messages' "$(grep -c '^Stalled:' <<<"$err")" 1
  contains 'reason' "$(<"$folder/run/status.json")" "\"reason\":\"a rank stalled: rank "
  contains 'reason' "$(<"$folder/run/status.json")" "for rank 1 on $(uname -n)"
  equals 'exit_code' "$(status "$folder/run" exit_code)" 14
  within 5 no_processes "$folder/run"
}

test_the_first_words_on_a_stall_count() {
  # Later ones wait for the rank that waits; one more is lost when mpirun ends the run.
  stand_in mpirun <<<'advice="Look at that rank. Ending the run."
    echo "Attention, 5 parameters; shapes" >&2
    echo "Stalled: rank 2 on b waited 2 s for rank 1 on \"a|b\" in a gather." >&2
    echo "Stalled: rank 0 on a waited 2 s for rank 2 on b in a gather." >&2
    printf "%s\n" "$advice" "$advice" "Stalled: rank 3 on b waited 2 s for rank 2 on b in a gather." "$advice" >&2
    frame "mpirun noticed that process rank 1 with PID 0 on node a exited on signal 9 (Killed)." >&2
    echo "another word" >&2
    exit 14'
  export -f frame
  mkdir -p "$folder/run"
  echo '{"state":"running","step":3,"epoch":1,"exit_code":0,"reason":""}' >"$folder/run/status.json"
  echo '<strong class="state running">running</strong>' >"$folder/run/report.html"
  PATH=$folder/bin:$PATH run -np 4 --output_dir "$folder/run"
  equals 'exit code' "$code" 14
  contains 'the first' "$err" 'Stalled: rank 2 on b waited'
  equals 'messages' "$(grep -c '^Stalled:' <<<"$err")" 1
  equals 'advice' "$(grep -c '^Look at' <<<"$err")" 1
  contains 'what else there is' "$err" 'another word'
  contains 'reason' "$(<"$folder/run/status.json")" \
    '"reason":"a rank stalled: rank 2 on b waited 2 s for rank 1 on \"a|b\" in a gather, last step 3"}'
  contains 'report' "$(<"$folder/run/report.html")" '(a rank stalled: rank 2 on b waited'
}

test_fewer_ranks_when_one_is_lost_twice() {
  # Rank 1 dies at the first two attempts, before it starts.
  stand_in program <<<'
    if ((OMPI_COMM_WORLD_RANK == 1)); then echo >>"$calls"; (($(wc -l <"$calls") > 2)) || kill -KILL $$; fi
    exec "$genuine" "$@"'
  export calls=$folder/calls
  genuine=$CONVNN_PROGRAM CONVNN_PROGRAM=$folder/bin/program \
    run -np 3 --max_restarts 2 --min_ranks 2 "${tiny[@]}" --output_dir "$folder/run"
  equals 'exit code' "$code" 0
  # Before MPI has started mpirun does not always say which rank it lost.
  contains 'message' "$err" ', last step 0'
  contains 'first' "$err" 'Restart 1 of 2 on 3 ranks'
  contains 'second' "$err" 'Restart 2 of 2 on 2 ranks'
  lacks 'no checkpoint yet' "$err" 'from the last checkpoint'
  equals 'weights' "$(weights "$folder/run")" "$(undisturbed)"
}

test_goes_on_without_a_lost_host() {
  # mpirun loses its first run; host b answers no more.
  stand_in mpirun <<<'echo "$*" >>"$calls"; (($(wc -l <"$calls") > 1))'
  stand_in ssh <<<'[[ " $* " != *" b "* ]]'
  export calls=$folder/calls
  PATH=$folder/bin:$PATH run --host a:2,b:2,c:1 --max_restarts 1 --min_ranks 3 --output_dir "$folder/run"
  equals 'exit code' "$code" 0
  contains 'message' "$err" 'Host b does not answer'
  contains 'first' "$(sed -n 1p "$calls")" '-np 5'
  contains 'second' "$(sed -n 2p "$calls")" '-np 3'
  contains 'second' "$(sed -n 2p "$calls")" '--host a:2,c:1'
  rm "$calls"
  PATH=$folder/bin:$PATH run --host a:2,b:2,c:1 --max_restarts 1 --min_ranks 4 --output_dir "$folder/run"
  equals 'too few: exit code' "$code" 16
  contains 'too few' "$err" 'only 3 ranks have a host left, --min_ranks is 4'
  equals 'too few: attempts' "$(wc -l <"$calls")" 1
}

# mpirun's frame around a message.
frame() { printf -- '%s\n' "$(printf -- '-%.0s' {1..74})" "$@" "$(printf -- '-%.0s' {1..74})"; }

test_what_mpirun_tells_of_other_hosts() {
  export -f frame
  stand_in ssh <<<'exit 0'
  stand_in mpirun <<<'frame "mpirun was unable to launch the specified application as it could not access" \
    "or execute an executable:" "" "Executable: /opt/trainer" "Node: b" "" >&2; exit 1'
  PATH=$folder/bin:$PATH mistake 10 'host b has no program /opt/trainer' --host a:1,b:1 --max_restarts 2
  open_mpi=5.0.7 stand_in mpirun <<<'frame "prterun was unable to launch the specified application as it lacked" \
    "permissions to execute an executable:" "" "   Executable: /opt/trainer" "   Node: b" "" >&2; exit 183'
  PATH=$folder/bin:$PATH mistake 10 'host b has no program /opt/trainer' --host a:1,b:1 --max_restarts 2
  stand_in mpirun <<<'echo "Attention, 5 parameters; shapes" >&2
    frame "An MPI communication peer process has unexpectedly disconnected." "  Peer host:  c" >&2; exit 1'
  PATH=$folder/bin:$PATH run --host a:1,c:1 --output_dir "$folder/run"
  equals 'contact lost: exit code' "$code" 16
  contains 'contact lost' "$err" 'contact with host c was lost, last step 0'
  lacks 'contact lost' "$err" unexpectedly
  open_mpi=5.0.7 stand_in mpirun <<<'frame "PRTE has lost communication with a remote daemon." "" \
    "  HNP daemon   : [prterun-a-9@0,0] on node a" "  Remote daemon: [prterun-a-9@0,1] on node c" >&2; exit 255'
  PATH=$folder/bin:$PATH run --host a:1,c:1 --output_dir "$folder/run"
  equals 'helper lost: exit code' "$code" 16
  contains 'helper lost' "$err" 'contact with host c was lost, last step 0'
}

test_what_mpirun_tells_of_ranks() {
  # In the words of both versions.
  local rank='process rank 1 with PID 9 on node b' who version
  export -f frame
  for version in 4.1.4 5.0.7; do
    [[ $version == 4* ]] && who=mpirun || who=prterun
    export who rank
    open_mpi=$version stand_in mpirun <<<'echo "$who: Forwarding signal 10 to job" >&2
      frame "$who noticed that $rank exited on" "signal 9 (Killed)." >&2; exit 137'
    PATH=$folder/bin:$PATH run -np 2 --output_dir "$folder/run"
    equals "$version: exit code" "$code" 16
    contains "$version: killed" "$err" 'rank 1 on b was ended by signal 9 (Killed), last step 0'
    lacks "$version: its own words" "$err" "$who"
    open_mpi=$version stand_in mpirun <<<'frame "$who has exited due to $rank exiting" "improperly. There are" >&2; exit 1'
    PATH=$folder/bin:$PATH run -np 2 --output_dir "$folder/run"
    contains "$version: early" "$err" 'rank 1 on b ended before its work was done'
    # The program has said why; an MPI that refuses its options exits with the same code.
    open_mpi=$version stand_in mpirun <<<'echo "Error: why" >&2
      frame "$who has exited due to $rank calling" "\"abort\". This may" >&2; exit 10'
    PATH=$folder/bin:$PATH run -np 2 --output_dir "$folder/run"
    equals "$version: mistake" "$code $err" '10 Error: why'
  done
  unset who rank
  open_mpi=5.0.7 stand_in mpirun <<<'echo "Attention, 5 parameters; shapes" >&2
    printf "[b:00000] *** %s\n" "An error occurred in Socket closed" "MPI_ERRORS_ARE_FATAL" >&2; exit 14'
  PATH=$folder/bin:$PATH run -np 2 --output_dir "$folder/run"
  equals 'socket: exit code' "$code" 16
  contains 'socket' "$err" 'a rank that b had a connection to has died, last step 0'
  lacks 'socket' "$err" '***'
}

test_an_mpirun_that_waits_for_a_lost_host_is_ended() {
  # It has told of the stall, and waits; a process of its own holds its stderr open.
  stand_in ssh <<<'exit 0'
  stand_in mpirun <<<'echo $$ >"$pid"; tail -f "$pid" >&2 & sleep 0.5
    echo "Stalled: rank 0 on a waited 6 s for rank 1 in a gather." >&2; trap "" TERM; wait'
  export pid=$folder/pid
  local begin=$SECONDS
  PATH=$folder/bin:$PATH run --host a:1,b:1 --output_dir "$folder/run"
  equals 'exit code' "$code" 14
  ((SECONDS - begin < 40)) || problem "it took $((SECONDS - begin)) s"
  [[ ! -e /proc/$(<"$pid") ]] || problem 'mpirun is still there'
  within 5 no_processes "$pid"
}

test_connections_that_fail_before_the_run_begins() {
  stand_in ssh <<<'exit 0'
  stand_in mpirun <<<'
    frame "WARNING: Open MPI failed to TCP connect to a peer MPI process." "  Local host: b" "  PID:  7" \
      "  Message:    connect() to 172.17.0.1:1026 failed" "  Error:  refused" >&2
    if [[ -n ${begins-} ]]; then echo "Attention, 5 parameters; shapes" >&2; sleep 1; exit 0; fi
    exec sleep 600'
  export -f frame
  PATH=$folder/bin:$PATH mistake 10 'b: connect() to 172.17.0.1:1026' --host a:1,b:1 --max_restarts 1 \
    --output_dir "$folder/run"
  begins=1 PATH=$folder/bin:$PATH run --host a:1,b:1 --output_dir "$folder/run"
  equals 'they have met: exit code' "$code" 0
}

# ---- signals -----------------------------------------------------------------------------------

# From step 3 on every step takes seconds, so that a signal meets the run in the middle.
slow() { start -np 2 "$@" "${tiny[@]}" --output_dir "$folder/run" --inject "slow:rank=0,step=3,seconds=$seconds"; }

test_a_signal_counts_from_the_first_moment() {
  local delay
  # While mpirun starts, before the ranks exist, before they listen, and later.
  for delay in 0.1 0.15 0.2 0.25 0.3 0.4; do
    rm -rf "$folder/run"
    start -np 2 "${tiny[@]}" --max_steps 0 --num_epochs 1000 --output_dir "$folder/run"
    sleep "$delay"
    kill -TERM "$launched"
    finish
    # 143: the launcher itself had hardly begun.
    [[ $code == 15 || ($code == 143 && ! -e $folder/run) ]] || problem "after $delay s: exit code $code"
  done
}

test_a_signal_while_hosts_are_looked_at() {
  # Such a look takes a second.
  stand_in ssh <<<'[[ $1 != -G ]] || exit 1; : >"$folder/looks"; sleep 1; cat >/dev/null; : >"$folder/looked"'
  stand_in mpirun <<<': >"$folder/ran"; trap "echo asked >&2; exit 15" USR1
    echo "Attention, 5 parameters; shapes" >&2; for ((i = 0; i < 300; i++)); do sleep 0.1; done'
  export folder
  local words
  for words in 'train 15' 'train 16 twice' 'evaluate 16'; do
    rm -f "$folder"/looks "$folder"/looked "$folder"/ran
    PATH=$folder/bin:$PATH start --host b:1 --grace 20 ${words%% *} --output_dir "$folder/run"
    within 5 test -e "$folder/looks"
    kill -TERM "$launched"
    sleep 0.3
    [[ $words != *twice ]] || kill -TERM "$launched"
    finish
    set -- $words
    equals "$words: exit code" "$code" "$2"
    if ((code == 15)); then
      exists "$folder/looked"
      contains "$words" "$err" asked
    else
      # The look is over at once.
      [[ ! -e $folder/looked ]] || problem "$words: it has waited"
      [[ ! -e $folder/ran ]] || problem "$words: it has started"
      contains "$words" "$err" 'ended by a signal, nothing has been started'
    fi
  done
}

test_a_signal_to_all_before_a_restart() {
  stand_in mpirun <<<'exit 1'
  PATH=$folder/bin:$PATH start -np 1 --max_restarts 9 --output_dir "$folder/run"
  within 20 grep -q 'Restart 3 of 9' "$folder/stderr"
  sleep 0.3
  # The launcher, and what it waits for.
  # shellcheck disable=SC2046
  kill -TERM "$launched" $(ps -o pid= --ppid "$launched")
  finish
  equals 'exit code' "$code" 16
  lacks 'no restart' "$err" 'Restart 4'
}

test_a_signal_is_passed_on_once() {
  # It comes when mpirun has just been started, from its own first words.
  stand_in mpirun <<<'kill -TERM $PPID; trap "echo ended >&2; exit 16" TERM; trap "echo asked >&2; exit 15" USR1
    sleep 0.5; echo "Attention, 5 parameters; shapes" >&2; for ((i = 0; i < 100; i++)); do sleep 0.1; done'
  PATH=$folder/bin:$PATH run -np 1 --grace 5 --output_dir "$folder/run"
  equals 'exit code' "$code" 15
  equals 'requests' "$(grep -c 'Stopping after a checkpoint' <<<"$err")" 1
}

test_a_signal_before_an_mpirun_that_says_nothing() {
  stand_in ssh <<<'[[ $1 != -G ]] || exit 1; : >"$folder/looks"; sleep 1; cat >/dev/null'
  stand_in mpirun <<<'echo $$ >"$folder/pid"; exec sleep 60'
  export folder
  local begin
  PATH=$folder/bin:$PATH start --host b:1 --grace 1 train --output_dir "$folder/run"
  within 5 test -e "$folder/looks"
  kill -TERM "$launched"
  begin=$SECONDS
  finish
  equals 'exit code' "$code" 16
  ((SECONDS - begin < 10)) || problem "it took $((SECONDS - begin)) s"
  within 5 no_processes "$folder/pid"
}

test_nobody_reads_for_a_while() {
  # What it says fills the pipe; a second signal ends it all the same.
  stand_in mpirun <<<'echo $$ >"$folder/pid"; trap "" USR1
    echo "Attention, 5 parameters; shapes" >&2; for ((i = 0; i < 20000; i++)); do echo "word $i" >&2; done
    : >"$folder/said"; exec sleep 60'
  export folder
  mkfifo "$folder/pipe"
  exec 8<>"$folder/pipe"
  PATH=$folder/bin:$PATH "$launch" -np 1 --output_dir "$folder/run" 2>"$folder/pipe" 8<&- &
  launched=$!
  within 10 test -e "$folder/said"
  kill -TERM "$launched"
  sleep 0.1
  kill -TERM "$launched"
  within 5 eval '[[ ! -e /proc/$(<"$folder/pid") ]]'
  timeout 5 cat <&8 >"$folder/read" &
  wait "$launched"
  equals 'exit code' "$?" 16
  exec 8>&-
  wait
  equals 'nothing is missing' "$(grep -c '^word' "$folder/read")" 20000
}

test_a_signal_leads_to_a_checkpoint() {
  local signal seconds=1
  for signal in TERM USR1; do
    rm -rf "$folder/run"
    slow
    within 20 reached "$folder/run" 2
    kill -"$signal" "$launched"
    finish
    equals "$signal: exit code" "$code" 15
    equals "$signal: state" "$(status "$folder/run" state)" preempted
    equals "$signal: exit_code" "$(status "$folder/run" exit_code)" 15
    exists "$folder/run/checkpoints/step-$(printf %08d "$(status "$folder/run" step)")/manifest.json"
    run -np 1 "${tiny[@]}" --output_dir "$folder/run"
    equals "$signal: weights" "$(weights "$folder/run")" "$(undisturbed)"
  done
}

test_a_checkpoint_counts_whoever_got_the_signal() {
  local seconds=0.3
  # mpirun ends with a code of its own when it has the signal from elsewhere, and gives ranks a second.
  slow --max_restarts 1
  within 20 reached "$folder/run" 2
  kill -TERM "$(processes "$folder/run" run)"
  finish
  if [[ $(status "$folder/run" state) == preempted ]]; then
    equals 'exit code' "$code" 15
    lacks 'message' "$err" Lost
  fi
  # The same by stand-ins: it leaves a checkpoint; or it does not, and an earlier attempt has.
  stand_in mpirun <<<'echo "Attention, 5 parameters; shapes" >&2
    [[ $saves != 1 ]] || echo "{\"state\":\"preempted\",\"step\":4,\"epoch\":1,\"exit_code\":15}" >"$folder/run/status.json"
    exit "$exits"'
  export folder exits saves=1
  for exits in 143 1 137; do
    PATH=$folder/bin:$PATH exits=$exits run -np 1 --max_restarts 1 --output_dir "$folder/run"
    equals "$exits: exit code" "$code" 15
    lacks "$exits" "$err" Lost
  done
  PATH=$folder/bin:$PATH saves=0 exits=143 run -np 1 --output_dir "$folder/run"
  equals 'an old one: exit code' "$code" 16
  contains 'an old one' "$err" Lost
  unset exits saves
}

test_slurm_signals_every_process() {
  local seconds=1
  SLURM_JOB_ID=7 slow
  within 20 reached "$folder/run" 2
  # The launcher, mpirun, the ranks.
  # shellcheck disable=SC2046
  kill -TERM $(processes "$folder/run")
  finish
  equals 'exit code' "$code" 15
  equals 'state' "$(status "$folder/run" state)" preempted
  SLURM_JOB_ID=7 run -np 1 "${tiny[@]}" --output_dir "$folder/run"
  equals 'weights' "$(weights "$folder/run")" "$(undisturbed)"
}

test_in_slurm_runs_end_as_elsewhere() {
  local seconds=60 begin
  SLURM_JOB_ID=7 slow
  within 20 reached "$folder/run" 2
  kill -TERM "$launched"
  within 5 grep -q 'Stopping after a checkpoint' "$folder/stderr"
  # The end of a job's time: twice at once, which is one request.
  kill -TERM "$launched"
  sleep 2.5
  [[ -n $(processes "$folder/run") ]] || problem 'it has ended too early'
  begin=$SECONDS
  kill -TERM "$launched"
  finish
  ((SECONDS - begin <= 5)) || problem "a second signal: it took $((SECONDS - begin)) s"
  equals 'a second signal: exit code' "$code" 16
  within 5 no_processes "$folder/run"
  rm -rf "$folder/run"
  SLURM_JOB_ID=7 slow --grace 1
  within 20 reached "$folder/run" 2
  kill -TERM "$launched"
  finish
  equals 'grace is over: exit code' "$code" 16
  rm -rf "$folder/run"
  SLURM_JOB_ID=7 slow
  within 20 reached "$folder/run" 2
  kill -KILL "$launched"
  finish 2>/dev/null
  within 5 no_processes "$folder/run"
}

test_a_batch_script_makes_room_for_the_launcher() {
  stand_in program <<<'exit 0'
  stand_in slurm_script <<<'$prefix "$launch" -np 1 --output_dir "$folder/run"; exit $?'
  local prefix
  export launch folder
  for prefix in '' exec 'eval trap : TERM;'; do
    err=$(prefix=$prefix SLURM_JOB_ID=7 CONVNN_PROGRAM=$folder/bin/program "$folder/bin/slurm_script" 2>&1)
    if [[ -z $prefix ]]; then contains 'advice' "$err" 'exec ./launch'; else equals "$prefix" "$err" ''; fi
  done
}

test_a_signal_when_rank_0_is_on_another_host() {
  # Its reports are there, not here; and it must not be asked before it listens.
  stand_in ssh <<<'exit 0'
  stand_in mpirun <<<': >"$folder/ran"; sleep 1; trap "echo asked >&2; exit 15" USR1
    echo "Attention, 5 parameters; shapes" >&2; for ((i = 0; i < 300; i++)); do sleep 0.1; done'
  export folder
  PATH=$folder/bin:$PATH start --host a:1,b:1 --grace 20 --output_dir "$folder/run"
  within 20 test -e "$folder/ran"
  kill -TERM "$launched"
  finish
  equals 'exit code' "$code" 15
  contains 'asked' "$err" asked
}

test_a_second_signal_ends_at_once() {
  local seconds=60 begin
  slow
  within 20 reached "$folder/run" 2
  kill -INT "$launched" 2>/dev/null
  kill -TERM "$launched"
  within 5 grep -q 'Stopping after a checkpoint' "$folder/stderr"
  sleep 0.1
  begin=$SECONDS
  kill -TERM "$launched"
  finish
  ((SECONDS - begin <= 5)) || problem "it took $((SECONDS - begin)) s"
  equals 'exit code' "$code" 16
  within 5 no_processes "$folder/run"
}

test_grace_has_an_end() {
  local seconds=60
  slow --grace 1 --max_restarts 3
  within 20 reached "$folder/run" 2
  kill -TERM "$launched"
  finish
  equals 'exit code' "$code" 16
  lacks 'restart' "$err" Restart
  contains 'message' "$err" 'ended by a signal before a checkpoint'
  equals 'state' "$(status "$folder/run" state)" failed
}

test_a_second_run_leaves_the_files_of_the_first_alone() {
  local seconds=60 first second victim before
  files() { cat "$folder/run/status.json" "$folder/run/report.html" "$folder"/run/logs/rank.0/std*; }
  slow --per_rank_logs
  first=$launched
  within 20 reached "$folder/run" 2
  before=$(files)
  contains 'the first run' "$before" '"state":"running"'
  for victim in rank launch both; do
    "$launch" -np 1 --per_rank_logs "${tiny[@]}" --log_every 7 --output_dir "$folder/run" \
      2>"$folder/second" &
    second=$!
    # It waits for the first one's lock.
    within 20 eval '[[ -n $(processes "--log_every 7" convnn) ]]'
    case $victim in
      rank) kill -KILL "$(processes '--log_every 7' convnn)" ;;
      launch) kill -KILL "$second" ;;
      *)
        kill -TERM "$second"
        within 5 grep -q 'Stopping after a checkpoint' "$folder/second"
        sleep 0.1
        kill -TERM "$second"
        ;;
    esac
    wait "$second" 2>/dev/null
    within 10 no_processes '--log_every 7'
    [[ $(files) == "$before" ]] || problem "$victim: the first run's files have changed: $(files | head -c 300)"
  done
  launched=$first
  kill -TERM "$first"
  within 5 grep -q 'Stopping after a checkpoint' "$folder/stderr"
  sleep 0.1
  kill -TERM "$first"
  finish
  equals 'exit code' "$code" 16
  equals 'the first one ended, its status is told' "$(status "$folder/run" state)" failed
}

test_killed_launchers_and_mpiruns_leave_nothing() {
  local seconds=60 victim
  for victim in mpirun launch; do
    rm -rf "$folder/run"
    slow
    within 20 reached "$folder/run" 2
    if [[ $victim == mpirun ]]; then
      kill -KILL "$(processes "$folder/run" run)"
    else
      kill -KILL "$launched"
    fi
    finish 2>/dev/null
    equals "$victim: exit code" "$code" "$([[ $victim == mpirun ]] && echo 16 || echo 137)"
    within 5 no_processes "$folder/run"
  done
}

test_the_next_start_sweeps_up() {
  local host stale sessions path
  host=$(uname -n)
  stale=(/dev/shm/{vader,sm}_segment."$host.test.$$")
  sessions=("${TMPDIR:-/tmp}/"{ompi."${host%%.*}.$EUID"/pid.999999999,prte{run,d}."${host%%.*}.999999999.$EUID"})
  touch "${stale[@]}" && mkdir -p "${sessions[@]/%//0}"
  stand_in program <<<'exit 0'
  CONVNN_PROGRAM=$folder/bin/program run -np 1 --output_dir "$folder/run"
  equals 'exit code' "$code" 0
  for path in "${stale[@]}" "${sessions[@]}"; do [[ ! -e $path ]] || problem "$path is still there"; done
  rm -rf "${stale[@]}" "${sessions[@]}"
}

# ---- all of them -------------------------------------------------------------------------------

# Says what became of the test, in one piece: others run beside it.
tell() {
  ((ended)) || problem 'it has ended early'
  if ((${#problems[@]})); then
    printf '%s\n' "FAILED  ${name//_/ }" "${problems[@]/#/        }"
  else
    echo "$name" >>"$work/passed"
    echo "passed  ${name//_/ } ($((SECONDS - before)) s)"
  fi
}

# They wait more than they compute, so several run at a time.
touch "$work/passed"
count=0
for name in $(declare -F | sed -n 's/^declare -f test_//p'); do
  [[ $name == *"${1-}"* ]] || continue
  while (($(jobs -rp | wc -l) >= 4)); do wait -n; done
  folder=$work/$name problems=() ended=0 before=$SECONDS count=$((count + 1))
  mkdir -p "$folder"
  (
    trap tell EXIT
    "test_$name"
    ended=1
  ) &
done
wait
passed=$(wc -l <"$work/passed")
echo "$passed passed, $((count - passed)) failed"
((passed > 0 && passed == count))
