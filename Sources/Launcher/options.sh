# The command line: the launcher's options, and what it has to know of the program's flags.

ranks='' threads='' hostfile='' hosts='' max_restarts=0 min_ranks='' grace=120 stall_timeout=''
per_rank_logs=0 dry_run=0 mpi_args=() command='' flags=()

# Sets `number` to the value $2 of option $1, at least $3.
whole_number() {
  local expected="expected a whole number of at least ${3:-0}"
  [[ $2 =~ ^-?[0-9]{1,9}$ ]] || fail 2 "$1 is ${2:-empty}: $expected."
  # 10#: a leading zero does not make it octal.
  number=$((10#${2#-}))
  [[ $2 != -* ]] && ((number >= ${3:-0})) || fail 10 "$1 is $2: $expected."
}

# The program takes it in any form of a number; the launcher only passes it on.
check_seconds() {
  local expected='expected a number of seconds above 0'
  [[ $2 =~ ^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$ ]] || fail 2 "$1 is ${2:-empty}: $expected."
  [[ $2 != -* && ${2%%[eE]*} == *[1-9]* ]] || fail 10 "$1 is $2: $expected."
}

# Splits $2, the value of option $1, into `words` at blanks outside of quotes. Nothing is expanded.
split_words() {
  local rest=$2 word='' inside=0
  words=()
  while [[ -n $rest ]]; do
    if [[ $rest =~ ^[[:space:]]+ ]]; then
      ((!inside)) || words+=("$word")
      word='' inside=0
    elif [[ $rest =~ ^\'([^\']*)\' || $rest =~ ^\"([^\"]*)\" || $rest =~ ^\\(.) ||
      $rest =~ ^([^[:space:]\'\"\\]+) ]]; then
      word+=${BASH_REMATCH[1]} inside=1
    else
      fail 2 "$1 is $2: a quote or a backslash without an end, at ${rest:0:20}"
    fi
    rest=${rest:${#BASH_REMATCH[0]}}
  done
  ((!inside)) || words+=("$word")
}

# Takes the run options out of the arguments; the rest are the program's.
parse() {
  local option value number words
  while (($#)); do
    option=${1%%=*}
    [[ $option == --* ]] && option=--$(tr - _ <<<"${option#--}")
    case $option in
      -np | -n | --ranks | --threads | --hostfile | --host | --max_restarts | --min_ranks | --grace | \
        --stall_timeout | --mpi_args)
        if [[ $1 == -*=* ]]; then value=${1#*=}; else
          (($# > 1)) || fail 2 "$1 needs a value."
          value=$2
          shift
        fi
        ;;
    esac
    case $option in
      -np | -n | --ranks) whole_number "$option" "$value" 1; ranks=$number ;;
      --threads) whole_number "$option" "$value" 1; threads=$number ;;
      --hostfile) hostfile=$value ;;
      --host) hosts=$value ;;
      --max_restarts) whole_number "$option" "$value"; max_restarts=$number ;;
      --min_ranks) whole_number "$option" "$value" 1; min_ranks=$number ;;
      --grace) whole_number "$option" "$value"; grace=$number ;;
      --stall_timeout) check_seconds "$option" "$value"; stall_timeout=$value ;;
      --mpi_args) split_words "$option" "$value"; mpi_args=("${words[@]}") ;;
      --per_rank_logs) per_rank_logs=1 ;;
      --dry_run) dry_run=1 ;;
      train | evaluate | predict | verify | bench | data | fuzz | help)
        if [[ -z $command && ${#flags[@]} == 0 ]]; then command=$1; else flags+=("$1"); fi
        ;;
      *) flags+=("$1") ;;
    esac
    shift
  done
}

# The value of a flag among the program's, in any spelling.
flag_value() {
  local word previous='' found=''
  for word in "${flags[@]}"; do
    case $word in
      "--$1="* | "--${1//_/-}="*) found=${word#*=} ;;
      *) [[ $previous != "--$1" && $previous != "--${1//_/-}" ]] || found=$word ;;
    esac
    previous=$word
  done
  printf '%s' "$found"
}

# Whether `train` is to evaluate only.
only_tests() { [[ " ${flags[*]} " == *" --test"[_-]"only "* ]]; }

# Images of the batch, as `BenchCommand` and `RunConfiguration` have them by default.
batch_size() {
  local size
  size=$(flag_value batch_size)
  if [[ $size =~ ^\+?[0-9]{1,9}$ ]]; then
    echo $((10#${size#+}))
  else
    [[ $command == bench ]] && echo 64 || echo 256
  fi
}

# Shards of the batch, by the rule of `RunConfiguration.resolvedShards`; nothing where no batch is shared.
shards_of_batch() {
  [[ $command =~ ^(train|bench)$ ]] && ! only_tests || return 0
  local size shards
  shards=$(flag_value shards)
  if [[ $shards =~ ^\+?[0-9]{1,9}$ ]] && ((10#${shards#+})); then
    shards=$((10#${shards#+}))
  else
    size=$(batch_size) shards=2
    while ((shards < 16 && shards * 2 <= size / 8)); do shards=$((shards * 2)); done
  fi
  echo "$shards"
}

# As a path that no command takes for an option.
output_folder() {
  local folder layer dataset
  folder=$(flag_value output_dir)
  [[ $folder != -* ]] || folder=./$folder
  layer=$(flag_value layer)
  dataset=$(flag_value dataset)
  printf '%s' "${folder:-./Output/${layer:-Attention}-${dataset:-cifar10}}"
}
