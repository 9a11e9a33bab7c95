# Makes a case's context in a new directory. Arguments: the case's directory in corpus/, the new directory. What git doesn't
# keep comes from here: modes, times, owners, and whatever the case's .setup does. Times are those of the case: BuildKit takes a
# file of the same path, size and time for the one that it got before.
set -eu
case=$1 context=$2
number=${case##*/}
time=@1234567${number%%-*}
cp -R "$case" "$context"
chown -R 0:0 "$context"
chmod -R u=rwX,go=rX "$context"
cd "$context"
find . -exec touch -h -d "$time" {} +
if [ -e "$case.setup" ]; then
    sh -eu "$case.setup"
    find . -newermt @1500000000 -exec touch -h -d "$time" {} +
fi
