# Sets up the machine, builds and tests.

packages=(libopenmpi-dev openmpi-bin libopenblas-dev libturbojpeg0-dev libjpeg-dev libpng-dev
  libxxhash-dev pkg-config curl ca-certificates)
build_flags=(-c release -Xswiftc -enable-testing)

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
  need_mpirun
  local lack
  lack=$(lack_of_swift)
  [[ -z $lack ]] || fail 10 "$lack.
$remedy_for_swift"
}

build() { (cd "$repository" && swift build "${build_flags[@]}" "$@" >&2) || fail 10 'the build failed.'; }

# What the command $1 would run.
tell_of() {
  local missing=()
  case $1 in
    setup | build | test)
      ! command -v dpkg-query >/dev/null || mapfile -t missing < <(missing_packages)
      ((!${#missing[@]})) || print_command apt-get install "${missing[@]}"
      ;;
  esac
  case $1 in
    build) print_command swift build "${build_flags[@]}" ;;
    test)
      print_command swift build "${build_flags[@]}" --build-tests
      print_command swift test "${build_flags[@]}" --skip-build --disable-xctest
      print_command "$repository/Tests/LaunchTests/run.sh"
      ;;
    doctor) print_command mpirun --oversubscribe -np 2 echo hello ;;
    clean) print_command rm -rf "$repository/.build" ;;
  esac
}

# Builds when a source is newer than the program.
build_if_needed() {
  [[ -z ${CONVNN_PROGRAM-} ]] || return 0
  local newer stamp=$repository/.build/start
  if [[ -x $program ]]; then
    newer=$(cd "$repository" &&
      find Sources Package.swift -path Sources/Launcher -prune -o -newer "$program" -print -quit)
    [[ -n $newer ]] || return 0
  fi
  setup
  # As old as the start of the build: what is saved while it runs is newer.
  mkdir -p "${stamp%/*}"
  touch "$stamp"
  build --product convnn
  touch -r "$stamp" "$program"
}

run_tests() {
  setup
  build --build-tests
  # A second pass: the list of tests is made from files that the first may just have written.
  build --build-tests
  local tests=$repository/.build/release/convnnPackageTests.xctest
  local ranks output failed=0
  output=$(mktemp)
  say '== tests in one process'
  (cd "$repository" && swift test "${build_flags[@]}" --skip-build --disable-xctest) || failed=1
  allow_root
  for ranks in 1 2 3 4; do
    say "== distributed tests, $ranks ranks"
    if ! mpirun --oversubscribe --mca mpi_yield_when_idle 1 -np "$ranks" \
      "$tests" --testing-library swift-testing --filter Distributed >"$output" 2>&1 </dev/null; then
      cat "$output" >&2
      failed=1
    fi
    grep -E 'Test run with [1-9][0-9]* tests? .*passed' "$output" >&2 ||
      { say "no distributed test ran on $ranks ranks"; failed=1; }
  done
  rm -f "$output"
  say '== tests of the launcher'
  "$repository/Tests/LaunchTests/run.sh" || failed=1
  ((failed == 0)) || { say 'Some tests FAILED.'; exit 1; }
  say 'All tests passed.'
}
