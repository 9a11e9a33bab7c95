# Writes what docker answers to each line of a file of commands. Arguments: the file, a directory to work in.
set -eu
commands=$1 dir=$2
import() { docker import -c 'CMD ["sh"]' -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - busybox <"$dir/base.tar" >/dev/null; }
clean() {
    docker ps -aq | xargs -r docker rm -fv >/dev/null
    docker network prune -f >/dev/null
    docker volume ls -q | xargs -r docker volume rm -f >/dev/null
    # Images on others first, whichever those are.
    while docker images -q | grep -q .; do docker images -aq | xargs -r docker rmi -f >/dev/null 2>&1 || true; done
}
mkdir -p "$dir"
cd "$dir"
sh "${0%/*}/base.sh"
while IFS= read -r line; do
    case $line in
    '' | '#'*) continue ;;
    '== '*)
        clean
        import
        rm -rf "$dir/work"
        mkdir "$dir/work"
        cd "$dir/work"
        # Of one section's events, none are the next one's.
        printf '\n%s\n' "$line"
        continue
        ;;
    esac
    code=0
    sh -c "$line" </dev/null >"$dir/out" 2>"$dir/err" || code=$?
    printf '$ %s\n' "$line"
    if [ -s "$dir/err" ]; then echo "$code stderr"; else echo "$code"; fi
    sed -e 's/^/| /' -e '$a\' "$dir/out"
done <"$commands"
clean
