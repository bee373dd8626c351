# Runs on every host of a run, by bash, before it.

# What a killed mpirun of this user left behind: memory segments that no process maps, session folders of
# processes that are gone.
sweep_leftovers() {
  local host path process
  host=$(uname -n)
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
}

# With the folder, the program, the folder of mpirun and its helper's name of the first host: says what keeps ranks
# from starting here. With `libraries` as a fifth argument it looks for those too.
look_around() {
  cd "$1" 2>/dev/null || { echo "no folder $1"; return; }
  command -v "$2" >/dev/null || { echo "no program $2"; return; }
  [[ -z $3 || -x $3/$4 ]] || command -v "$4" >/dev/null ||
    echo "no Open MPI of this host's version ($4) in $3 or on PATH"
  [[ -z ${5-} ]] || ldd "$(command -v "$2")" | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/no library \1/p' | head -1
}

