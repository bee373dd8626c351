# Which Open MPI this host has, and what versions 4 and 5 call by different names.

# Main version of the mpirun on PATH, once that is known.
mpi_version=''

# Sets `mpi_version`, and `lack` to what is wrong with mpirun: what was found, what is needed. Empty if it will do:
# the launcher speaks to Open MPI by parameters, helpers and messages that others do not have.
look_at_mpirun() {
  local path words
  mpi_version='' lack=''
  if ! path=$(command -v mpirun); then
    lack='no mpirun on PATH, Open MPI 4 or 5 is needed'
    return
  fi
  # Like "mpirun (Open MPI) 4.1.4"
  words=$("$path" --version 2>&1 </dev/null || true)
  if [[ ! $words =~ \(Open\ MPI\)\ (([0-9]+)\.[0-9.]*[0-9]) ]]; then
    # MPICH tells its version in the second line.
    words=$(head -n 2 <<<"$words" | tr -s '[:space:]' ' ')
    words=${words:0:100}
    lack="$path does not tell a version of Open MPI but \"${words% }\", Open MPI 4 or 5 is needed"
  elif [[ ${BASH_REMATCH[2]} == [45] ]]; then
    mpi_version=${BASH_REMATCH[2]}
  else
    lack="$path is Open MPI ${BASH_REMATCH[1]}, Open MPI 4 or 5 is needed"
  fi
}
remedy_for_mpirun='Install it and put it first on PATH, or build by "swift build -c release" and call mpirun directly (README)'

# Ends the launcher where there is no mpirun that it can speak to.
need_mpirun() {
  local lack
  [[ -z $mpi_version ]] || return 0
  look_at_mpirun
  [[ -z $lack ]] || fail 10 "$lack.
$remedy_for_mpirun"
}

# Whether the user has set the parameter $1 of Open MPI. (Files do not count: distributions write them too.)
is_set_for_mpi() {
  local ours=OMPI_MCA_$1 theirs=PRTE_MCA_$1 word
  [[ -z ${!ours-}${!theirs-} ]] || return 0
  for word in "${mpi_args[@]}"; do [[ $word != "$1" ]] || return 0; done
  return 1
}

# Sets a parameter of Open MPI, unless the user has: mpirun takes none twice.
set_for_mpi() { is_set_for_mpi "$1" || mpirun+=(--mca "$1" "$2"); }

# The same for what starts the ranks, which is a program of its own from version 5 on.
set_for_starter() {
  local option=--mca
  ((mpi_version == 4)) || option=--prtemca
  is_set_for_mpi "$1" || mpirun+=("$option" "$1" "$2")
}

# mpirun's helper on another host.
helper_of_mpirun() { ((mpi_version == 4)) && echo orted || echo prted; }

# Starts it by the command $1.
start_helper_by() {
  local parameter=prte_launch_agent helper
  ((mpi_version > 4)) || parameter=orte_launch_agent
  helper=$(helper_of_mpirun)
  set_for_starter "$parameter" "$1 $helper"
}

# Keeps messages to the network $1, and what starts the ranks in version 4: that of version 5 (PRRTE 3.0) finds no
# interface of a network, and tries all of them by itself.
keep_to_network() {
  local part
  for part in btl oob; do
    [[ $part == btl ]] || ((mpi_version == 4)) || continue
    is_set_for_mpi "${part}_tcp_if_exclude" || set_for_mpi "${part}_tcp_if_include" "$1"
  done
}

# Ranks of one host, which need no network.
set_one_host() {
  set_for_mpi pml ob1
  # In version 5 its name is sm, but it listens to the old one.
  set_for_mpi btl self,vader
}

# Forbids ranks to read each other's memory.
forbid_single_copy() {
  if ((mpi_version == 4)); then
    set_for_mpi btl_vader_single_copy_mechanism none
  else
    is_set_for_mpi btl_sm_single_copy_mechanism || set_for_mpi smsc '^cma'
  fi
}
