# Looks at the machine, and names what is wrong.

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
  local greeting
  greeting=$(timeout 30 mpirun --oversubscribe -np 2 echo hello 2>/dev/null </dev/null | wc -l || true)
  check 'mpirun starts two processes' "$([[ $greeting == 2 ]] && echo ok)" 'Run: mpirun -np 2 echo hello'
  local free
  free=$(df -Pm /dev/shm 2>/dev/null | awk 'NR == 2 {print $4}')
  check "shared memory: ${free:-no} MiB free" "$(((${free:-0} >= 64)) && echo ok)" \
    'Give /dev/shm 8 MiB per rank (docker: --shm-size 1g).'
  check "OPENBLAS_CORETYPE: ${OPENBLAS_CORETYPE:-not set}" "$([[ -z ${OPENBLAS_CORETYPE-} ]] && echo ok)" \
    'The environment chooses the kernels of OpenBLAS; the program corrects it unless --blas_core env.'
  local quota=''
  [[ ! -r /sys/fs/cgroup/cpu.max ]] || quota=$(awk '$1 != "max" {printf ", a quota of %.1f", $1 / $2}' /sys/fs/cgroup/cpu.max)
  # It would take OMP_NUM_THREADS for the number of cores.
  check "cores: $(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc) of $(nproc --all)$quota" ok
  check "memory: $(awk '/MemAvailable/ {printf "%.1f GiB free", $2 / 1048576}' /proc/meminfo)" ok
  return $((problems ? 10 : 0))
}
