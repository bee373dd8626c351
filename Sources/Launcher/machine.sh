# What this host has, and what was left behind on it.

allow_root() {
  ((EUID)) || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
}

# Cores this process may use: affinity, and the container's quota.
usable_cores() {
  local cores quota period
  # nproc would take OMP_NUM_THREADS for the number of cores.
  cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
  if [[ -r /sys/fs/cgroup/cpu.max ]]; then
    read -r quota period </sys/fs/cgroup/cpu.max
    if [[ $quota != max ]] && ((quota / period < cores)); then
      cores=$((quota / period > 0 ? quota / period : 1))
    fi
  fi
  echo "$cores"
}

# Whether ranks may read each other's memory; containers often forbid it.
single_copy_works() {
  local scope=/proc/sys/kernel/yama/ptrace_scope
  [[ ! -r $scope || $(<"$scope") == 0 ]] || return 1
  ((EUID == 0)) || return 0
  local capabilities
  capabilities=$(awk '/^CapEff/ {print $2}' /proc/self/status)
  (((16#$capabilities >> 19) & 1))
}

# What the folders of notes are called, up to the launcher's number: a number says nothing on another host or
# in another container, and those may share the folder for temporary files.
name_of_notes() {
  local space
  space=$(readlink /proc/self/ns/pid || true)
  echo "${TMPDIR:-/tmp}/convnn-notes.$(uname -n).${space//[^0-9]/}."
}

# What a killed mpirun or launcher of this user left behind on this host: memory segments that no process
# maps, session folders and notes of processes that are gone.
sweep_leftovers() {
  local host path process name
  host=$(uname -n) name=$(name_of_notes)
  for path in "/dev/shm/"{vader,sm}"_segment.$host."*; do
    [[ -O $path ]] || continue
    grep -qsF "$path" /proc/[0-9]*/maps || rm -f "$path"
  done
  for path in "${TMPDIR:-/tmp}/ompi.${host%%.*}.$EUID"/pid.*; do
    [[ -d $path && -O $path ]] || continue
    [[ -e /proc/${path##*.} ]] || rm -rf "$path"
  done
  # On other hosts they bear a job's number, and inside the number of mpirun's daemon.
  for path in "${TMPDIR:-/tmp}/ompi.${host%%.*}.$EUID"/jf.*/pmix_dstor_ds21_*; do
    [[ -d $path && -O $path ]] || continue
    [[ -e /proc/${path##*_} ]] || rm -rf "${path%/*}"
  done
  # From version 5 on: one for mpirun or its helper.
  for path in "${TMPDIR:-/tmp}"/prte{run,d}."${host%%.*}".*".$EUID"; do
    [[ -d $path && -O $path ]] || continue
    process=${path%.*}
    [[ -e /proc/${process##*.} ]] || rm -rf "$path"
  done
  for path in "$name"*; do
    [[ -d $path && -O $path ]] || continue
    process=${path#"$name"}
    [[ -e /proc/${process%%.*} ]] || rm -rf "$path"
  done
}

doctor() {
  local problems=0
  check() {
    if [[ $2 == ok ]]; then printf 'ok       %s\n' "$1"; else
      printf 'problem  %s\n         %s\n' "$1" "$3"
      problems=1
    fi
  }
  local lack
  lack=$(lack_of_swift)
  check "Swift: ${lack:-$(swift --version 2>/dev/null | grep -m 1 'Swift version')}" \
    "$([[ -n $lack ]] || echo ok)" "$remedy_for_swift"
  local missing
  missing=$(missing_packages | paste -sd' ')
  check "packages: ${missing:-all installed}" "$([[ -z $missing ]] && echo ok)" './launch setup installs them.'
  look_at_mpirun
  check "MPI: ${lack:-$(mpirun --version 2>/dev/null </dev/null | head -n 1 || true)}" \
    "$([[ -n $lack ]] || echo ok)" "$remedy_for_mpirun"
  allow_root
  local greeting
  greeting=$(timeout 30 mpirun --oversubscribe -np 2 echo hello 2>/dev/null </dev/null | wc -l || true)
  check 'mpirun starts two processes' "$([[ $greeting == 2 ]] && echo ok)" 'Run: mpirun -np 2 echo hello'
  local free
  free=$(df -Pm /dev/shm 2>/dev/null | awk 'NR == 2 {print $4}')
  check "shared memory: ${free:-no} MiB free" "$(((${free:-0} >= 64)) && echo ok)" \
    'Give /dev/shm 8 MiB per rank (docker: --shm-size 1g).'
  check "OPENBLAS_CORETYPE: ${OPENBLAS_CORETYPE:-not set}" "$([[ -z ${OPENBLAS_CORETYPE-} ]] && echo ok)" \
    'The environment chooses the kernels of OpenBLAS; the program corrects it unless --blas_core env.'
  check "cores: $(usable_cores) of $(nproc --all)" ok
  check "memory: $(awk '/MemAvailable/ {printf "%.1f GiB free", $2 / 1048576}' /proc/meminfo)" ok
  return $((problems ? 10 : 0))
}
