# Other hosts: how many ranks they have room for, which network leads there, what they lack.

# Lines `host slots` of the host list or the hostfile; without a number it is one slot.
host_slots() {
  if [[ -n $hosts ]]; then
    tr , '\n' <<<"$hosts" | awk -F: '{print $1, (NF > 1 ? $2 : 1)}'
  else
    awk '{sub(/#.*/, "")}
      NF {print $1, match($0, /[[:space:]]slots=[0-9]+/) ? substr($0, RSTART + 7, RLENGTH - 7) : 1}' \
      "$hostfile"
  fi
}

# Ranks that the hosts have room for.
slots() { host_slots | awk '{n += $2} END {print n + 0}'; }

check_hosts() {
  [[ -z $hosts || -z $hostfile ]] || fail 10 '--host and --hostfile both name hosts. Give one of them.'
  if [[ -n $hostfile ]]; then
    [[ -r $hostfile && ! -d $hostfile ]] || fail 10 "--hostfile $hostfile cannot be read. Expected lines like: node-a slots=4"
    local bad
    bad=$(awk '{sub(/#.*/, "")} NF && !($0 ~ /^[[:space:]]*[A-Za-z0-9_.-]+([[:space:]]+(max_slots|max-slots|slots)=[0-9]+)*[[:space:]]*$/) {print NR ": " $0; exit}' "$hostfile")
    [[ -z $bad ]] || fail 10 "--hostfile $hostfile, line $bad. Expected lines like: node-a slots=4"
    (($(slots) > 0)) || fail 10 "--hostfile $hostfile names no host. Expected lines like: node-a slots=4"
  fi
  if [[ -n $hosts && ! $hosts =~ ^[A-Za-z0-9_.-]+(:[0-9]+)?(,[A-Za-z0-9_.-]+(:[0-9]+)?)*$ ]]; then
    fail 10 "--host $hosts is not understood. Expected something like a:2,b:2"
  fi
  [[ -z $hosts ]] || (($(slots) > 0)) || fail 10 "--host $hosts has no slots. Expected something like a:2,b:2"
}

# Whether a name or an address is this host's.
is_here() {
  local address own
  [[ $1 != localhost && ${1%%.*} != "$(uname -n | cut -d. -f1)" ]] || return 0
  own=" $(hostname -I 2>/dev/null || true) "
  for address in $(getent ahostsv4 "$1" | awk '{print $1}' || true); do
    [[ $address != 127.* && $own != *" $address "* ]] || return 0
  done
  return 1
}

# The names of the other hosts, each once.
other_hosts() {
  local host
  while read -r host _; do
    is_here "$host" || echo "$host"
  done < <(host_slots | sort -u -k 1,1)
}

# The IPv4 address that ssh would take for a host.
address_of() {
  local name
  name=$(ssh -G "$1" 2>/dev/null </dev/null | awk '$1 == "hostname" {print $2}' || true)
  getent ahostsv4 "${name:-$1}" | awk 'NR == 1 {print $1}' || true
}

# Whether the address $1 is in the network $2, like 10.0.0.0/8.
is_in_network() {
  local numbers=() address network bits=${2#*/}
  IFS=./ read -r -a numbers <<<"$1.${2%/*}"
  address=$(((numbers[0] << 24) + (numbers[1] << 16) + (numbers[2] << 8) + numbers[3]))
  network=$(((numbers[4] << 24) + (numbers[5] << 16) + (numbers[6] << 8) + numbers[7]))
  ((address >> (32 - bits) == network >> (32 - bits)))
}

# The one network by which this host reaches all others; nothing if that cannot be told, or if there are several:
# Open MPI does not bear a list of which a host has not every network.
network_of_hosts() {
  local host address route own network=''
  command -v ip >/dev/null || return 0
  for host in $(other_hosts); do
    address=$(address_of "$host")
    [[ -n $address ]] || return 0
    route=$(ip -4 -o route get "$address" 2>/dev/null) || return 0
    [[ $route =~ \ src\ ([0-9.]+) ]] || return 0
    own=$(ip -4 -o address show to "${BASH_REMATCH[1]}/32" | awk 'NR == 1 {print $4}')
    [[ $own == */* ]] || return 0
    [[ ${network:-$own} == "$own" ]] && is_in_network "$address" "$own" || return 0
    network=$own
  done
  printf '%s' "$network"
}

# Runs on another host, with the folder, the program, the folder of mpirun and its helper's name of this one: says
# what keeps ranks from starting there. With `libraries` as a fifth argument it looks for those too.
look_around() {
  cd "$1" 2>/dev/null || { echo "no folder $1"; return; }
  command -v "$2" >/dev/null || { echo "no program $2"; return; }
  [[ -z $3 || -x $3/$4 ]] || command -v "$4" >/dev/null ||
    echo "no Open MPI of this host's version ($4) in $3 or on PATH"
  [[ -z ${5-} ]] || ldd "$(command -v "$2")" | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/no library \1/p' | head -1
}

# Asks the other hosts, all at a time, what they lack; the first answer ends the run, with exit code 10.
look_at_hosts() {
  [[ -n $hosts$hostfile ]] || return 0
  # Where something else than ssh starts processes, ssh need not lead anywhere.
  [[ -z ${PBS_JOBID-}${LSB_JOBID-}${PE_HOSTFILE-} ]] || return 0
  ! is_set_for_mpi plm_rsh_agent && ! is_set_for_mpi plm_ssh_agent && ! is_set_for_mpi plm || return 0
  local host others=() script bin=''
  mapfile -t others < <(other_hosts)
  ((${#others[@]})) || return 0
  command -v ssh >/dev/null || fail 10 "no ssh on this host to reach ${others[0]}. Install openssh-client."
  [[ ${mpi_args[*]} == *-prefix* ]] || bin=$(dirname "$(command -v mpirun)")
  script=$(declare -f name_of_notes sweep_leftovers look_around
    [[ -z ${LD_LIBRARY_PATH-} ]] || printf '\nexport LD_LIBRARY_PATH=%q' "$LD_LIBRARY_PATH"
    printf '\nsweep_leftovers\n'
    printf '%q ' look_around "$PWD" "$program" "$bin" "$(helper_of_mpirun)" ${1-})
  mkdir -p "$notes/hosts"
  local look looks=()
  for host in "${others[@]}"; do
    {
      ssh -o BatchMode=yes -o ConnectTimeout=10 "$host" bash -s <<<"$script" \
        >"$notes/hosts/$host.lacks" 2>"$notes/hosts/$host.says" || : >"$notes/hosts/$host.failed"
    } &
    looks+=($!)
    # Every one is a process of this host.
    ((${#looks[@]} < 64)) || { wait "${looks[0]}" || true; looks=("${looks[@]:1}"); }
  done
  for look in "${looks[@]}"; do wait "$look" || true; done
  for host in "${others[@]}"; do
    if [[ -e $notes/hosts/$host.failed && ! -s $notes/hosts/$host.lacks ]]; then
      # It may have ended the look as well.
      end_if_signalled now
      # A host that is gone may be left out of a restart.
      [[ -z $min_ranks ]] || ((max_restarts == 0)) || continue
      fail 10 "host $host cannot be used: $(tail -n 1 "$notes/hosts/$host.says" | tr -d '\r')
Expected that \"ssh $host true\" works here without a password or a question.
Mend that (README: many nodes), or leave the host out."
    fi
    [[ ! -s $notes/hosts/$host.lacks ]] || fail_for_lack "$host" "$(head -n 1 "$notes/hosts/$host.lacks")"
  done
  rm -rf "$notes/hosts"
}

fail_for_lack() {
  fail 10 "host $1 has $2.
Every host needs the same program, libraries, Open MPI and working folder under the same paths.
Put it there, or leave the host out."
}

# Leaves out hosts that do not answer; without --min_ranks all ranks have to be there again.
drop_lost_hosts() {
  [[ -n $min_ranks && -n $hosts$hostfile ]] || return 0
  local host count kept=()
  while read -r host count; do
    if is_here "$host" ||
      ssh -o BatchMode=yes -o ConnectTimeout=10 "$host" true </dev/null >/dev/null 2>&1; then
      kept+=("$host:$count")
    else
      say "Host $host does not answer: going on without it."
    fi
  done < <(host_slots)
  hosts=$(IFS=,; echo "${kept[*]}") hostfile=''
  local room=0
  [[ -z $hosts ]] || room=$(slots)
  ((ranks <= room)) || ranks=$room
  ((ranks >= min_ranks)) || fail 16 "only $ranks ranks have a host left, --min_ranks is $min_ranks."
}
