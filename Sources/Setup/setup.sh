# What the trainer needs of this machine: the distribution's packages, an MPI, a compiler.

packages=(libopenmpi-dev openmpi-bin libopenblas-dev libturbojpeg0-dev libjpeg-dev libpng-dev
  libxxhash-dev pkg-config curl ca-certificates)

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

# What is wrong with the Swift compiler on PATH: what was found, what is needed. Nothing if it will do.
lack_of_swift() {
  local needed path
  needed=$(sed -n '1s/.*swift-tools-version:[[:space:]]*//p' "$repository/Package.swift")
  if ! path=$(command -v swift); then
    echo "no Swift compiler on PATH, Swift $needed or later is needed"
  # Like "Swift version 6.3.1 (swift-6.3.1-RELEASE)"; something may stand before it, in its line or above.
  elif [[ ! $(swift --version 2>/dev/null || true) =~ Swift\ version\ ([0-9]+\.[0-9]+) ]]; then
    echo "$path does not tell a version of Swift, Swift $needed or later is needed"
  elif ! printf '%s\n' "$needed" "${BASH_REMATCH[1]}" | sort -C -V; then
    echo "$path is Swift ${BASH_REMATCH[1]}, Swift $needed or later is needed"
  fi
}
remedy_for_swift='Install it and put it first on PATH: swift.org/install'

# Sets `mpi_version` to the main version of the mpirun on PATH, and `lack` to what is wrong with it: what was found,
# what is needed. Empty if it will do: the launcher speaks to Open MPI by parameters, helpers and messages that
# others do not have.
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

# What the launcher has to know of mpirun: its main version, or what is wrong with it.
mpi_of_launcher() {
  local mpi_version lack
  look_at_mpirun
  if [[ -z $lack ]]; then echo "$mpi_version"; else printf '%s.\n%s\n' "$lack" "$remedy_for_mpirun"; fi
}

# Installs the distribution's packages that are missing; asks nothing.
setup() {
  if command -v dpkg-query >/dev/null; then
    local missing=() administrator=()
    mapfile -t missing < <(missing_packages)
    if ((${#missing[@]})); then
      if ((EUID)); then
        sudo -n true 2>/dev/null ||
          fail 10 "packages are missing. Run as root: apt-get install ${missing[*]}"
        administrator=(sudo -n)
      fi
      say "Installing ${missing[*]}"
      "${administrator[@]}" apt-get update -qq
      "${administrator[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        fail 10 "the packages could not be installed: ${missing[*]}"
    fi
  elif ! command -v mpirun >/dev/null; then
    fail 10 "no mpirun and no apt on this system. Install Open MPI 4 or 5, OpenBLAS, libjpeg-turbo, libpng and xxHash with their headers."
  fi
  local mpi_version lack
  look_at_mpirun
  [[ -z $lack ]] || fail 10 "$lack.
$remedy_for_mpirun"
  lack=$(lack_of_swift)
  [[ -z $lack ]] || fail 10 "$lack.
$remedy_for_swift"
}
