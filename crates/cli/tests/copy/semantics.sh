#!/bin/sh
# Prints what each copy of a list does: its status, and what is there afterwards that wasn't before, or is another.
# Arguments: the engine (`berth`, `docker`), a running container, and a directory of this host whose `in` is mounted on
# /w there.
engine=$1 box=$2 here=$3

# The tree below the working directory: kind, path, content or target.
show() {
    find . | while read -r path; do
        if [ -h "$path" ]; then echo "    l $path>$(readlink "$path")"
        elif [ -d "$path" ]; then echo "    d $path"
        elif [ -f "$path" ]; then read -r line <"$path"; echo "    f $path=$line"
        else echo "    ? $path"; fi
    done | LC_ALL=C sort
}

# The same tree on either side.
fill() {
    rm -rf ./* && mkdir -p d/s empty o/d o/x/f && echo f >f && echo e >e && echo a >d/a && echo b >d/s/b &&
        ln -s f lf && ln -s d ld && ln -s made lnew && ln -s no/where lno && ln -s ../f d/up && ln d/a d/z &&
        echo o >o/f && echo kept >o/d/kept && echo old >o/d/a && echo file >o/d2 && ln -s ../empty o/ld && ln -s e o/lf
}

mkdir -p "$here/in" "$here/out"
cd "$here/in" && fill && show >"$here/before"

try() {
    for side in in out; do cd "$here/$side" && fill; done
    $engine cp "$@" </dev/null >/dev/null 2>&1
    echo "$*: $?"
    for side in in out; do cd "$here/$side" && show | LC_ALL=C comm -13 "$here/before" -; done
}

# Each form of a source onto each form of a destination, into the container and out of it.
for source in f d d/. lf ld ld/ lno f/ none; do
    for target in o o/ new new/ new/. e e/ empty/new none/new lnew lno ld o/lf; do
        try "$source" "$box:/w/$target"
        try "$box:/w/$source" "$target"
    done
done
for source in d o/d ld lf lno; do
    try -L "$source" "$box:/w/new"
    try -L "$box:/w/$source" new
    try -L "$source" "$box:/w/empty"
    try -L "$box:/w/$source" empty
done
# Paths of containers are cleaned as text, and begin at the root.
try f "$box:w/new"
try "$box:w/f" new
try f "$box:/w/none/../new"
try "$box:/w/none/../f" new
try f "$box:../../w/new"
try f "$box:w/ld/../new"
try "$box:w/ld/s/../a" new
# One file in the place of another, of another kind.
try f "$box:/w/o/x"
try "$box:/w/f" o/x
try o/d2 "$box:/w/o/d"
try "$box:/w/o/d2" o/d
try d "$box:/w/o/d2"
try "$box:/w/d" o/d2
try o/d/. "$box:/w/d"
try "$box:/w/o/d/." d
try o/. "$box:/w"
try "$box:/w/o/." .
try "$box:/w/empty" .
try "$box:/w/empty/." new
# What isn't a copy.
try f g
try "$box:/w/f" "$box:/w/new"
try none:/f new
try f none:/new
try ./f:x "$box:/w/new"
try "$box:" new
try f "$box:"
try - "$box:/w/none"
try - "$box:/w/f"
