# Builds each case of corpus/ with docker. Arguments: the directory of tests, a directory to work in, the port of the server
# of remote files, what must be in a case's name. Leaves in WORK/out/CASE: `check`, `status`, `log`, and of a built image what `save` gives, without the base's layer.
set -eu
tests=$1 work=$2 port=$3 part=$4
base=$(docker image inspect busybox --format '{{index .RootFS.Layers 0}}')
mkdir -p "$work/out"
for case in "$tests"/corpus/*/; do
    case=${case%/}
    case ${case##*/} in *"$part"*) ;; *) continue ;; esac
    name=${case##*/}
    out=$work/out/$name
    rm -rf "$work/ctx"
    mkdir "$out"
    sh "$tests/prepare.sh" "$case" "$work/ctx"
    # BuildKit keeps the context and only sends what has another size or time; times of directories would be those of that.
    docker builder prune --all --force >/dev/null
    arguments=
    if [ -e "$case.args" ]; then arguments=$(sed "s/@PORT@/$port/g" "$case.args"); fi
    cd "$work"
    # Not from the build's log, which shows warnings only if they come in time.
    # shellcheck disable=SC2086
    docker build --call check $arguments ctx >"$out/check" 2>/dev/null </dev/null || true
    status=0
    # shellcheck disable=SC2086
    docker build --progress plain -t result $arguments ctx >"$out/log" 2>&1 </dev/null || status=$?
    echo "$status" >"$out/status"
    if [ "$status" = 0 ]; then
        docker save result | tar -x -C "$out"
        rm -f "$out/blobs/sha256/${base#sha256:}"
        docker rmi -f result >/dev/null
    fi
done
