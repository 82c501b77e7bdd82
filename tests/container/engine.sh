# Sourced by the scripts in this folder: finds the container engine.
#
# TL_ENGINE: the engine's command, such as `podman` or `sudo docker`; empty: podman or docker, whichever works.

stop() {
    printf '%s\n' "$@" >&2
    exit 1
}

# The command may exist without its daemon running, so ask for something harmless.
answers() {
    $1 ps -q >/dev/null 2>&1
}

# Installs Debian packages if that needs no password; otherwise says what to do.
install_packages() {
    why=$1
    shift
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        stop "$why" "On Debian and Ubuntu: sudo apt-get install $*"
    fi
    echo "Installing $* ($why)"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 || {
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    } || stop "The packages $* could not be installed."
}

find_engine() {
    if [ -n "${TL_ENGINE:-}" ]; then
        answers "$TL_ENGINE" || stop "The container engine '$TL_ENGINE' (from TL_ENGINE) does not answer:" \
            "$($TL_ENGINE ps -q 2>&1)"
        return
    fi
    for TL_ENGINE in podman docker; do
        if command -v "$TL_ENGINE" >/dev/null && answers "$TL_ENGINE"; then
            return
        fi
    done
    install_packages "No container engine (podman or docker) answers." podman runc
    TL_ENGINE=podman
    answers podman || stop "podman is installed and does not answer:" "$(podman ps -q 2>&1)"
}

# podman prefers crun, which does not work with every kernel and cgroup set-up; runc is the alternative.
choose_runtime() {
    image=$1
    said=$($TL_ENGINE run --rm --network=host --entrypoint /bin/sh $(limits) "$image" -c : 2>&1) && return
    case $TL_ENGINE in
    *podman*)
        command -v runc >/dev/null || install_packages "podman's own runtime does not start a container." runc
        TL_ENGINE="$TL_ENGINE --runtime=runc"
        said=$($TL_ENGINE run --rm --network=host --entrypoint /bin/sh $(limits) "$image" -c : 2>&1) && return
        ;;
    esac
    stop "$TL_ENGINE cannot start a container of $image:" "$said"
}

# podman requests more open files and processes than some machines allow, and then fails to start. Pass on this process's
# own limits, capped at the kernel's number of process ids.
limits() {
    case $TL_ENGINE in
    *podman*)
        awk 'FNR == 1 && NR == 1 { most = $1; next }
             /^Max open files/ && $4 ~ /^[0-9]+$/ { print "--ulimit=nofile=" $4 ":" $4 }
             /^Max processes/ { print "--ulimit=nproc=" ($3 < most ? $3 : most) ":" ($3 < most ? $3 : most) }' \
            /proc/sys/kernel/pid_max /proc/self/limits
        ;;
    esac
}
