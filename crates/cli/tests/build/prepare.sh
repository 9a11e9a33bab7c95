# Makes a case's context in a new directory. Arguments: the case's directory in corpus/, the new directory. What git doesn't
# keep comes from here: modes, times, owners, and whatever the case's .setup does.
set -eu
case=$1 context=$2
cp -R "$case" "$context"
chown -R 0:0 "$context"
chmod -R u=rwX,go=rX "$context"
cd "$context"
find . -exec touch -h -d @1234567890 {} +
if [ -e "$case.setup" ]; then
    sh -eu "$case.setup"
    find . -newermt @1500000000 -exec touch -h -d @1234567890 {} +
fi
