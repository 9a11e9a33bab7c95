# bash completion for berth. Load it with: source <(berth completion bash)
# With `alias docker=berth`, add: complete -F __berth_complete docker

__berth_complete() {
    local line=${COMP_LINE:0:COMP_POINT} last=$COMP_CWORD
    local -a words=()
    local part i
    # Words as the shell splits them, without readline's breaks at = : and @, which end none of berth's words.
    for ((i = 0; i <= last; i++)); do
        part=${COMP_WORDS[i]}
        if ((i == 0)) || [[ $line == [[:space:]]* ]]; then
            line=${line#"${line%%[![:space:]]*}"}
            words+=("")
        fi
        ((i == last)) && part=$line
        words[${#words[@]} - 1]+=$part
        line=${line#"$part"}
    done
    local current=${words[${#words[@]} - 1]}

    local program=${words[0]/#\~/$HOME}
    [[ ${program##*/} == berth ]] || program=berth
    local answer bits
    answer=$("$program" __complete "${words[@]:1}" 2>/dev/null) || return
    bits=${answer##*:}
    answer=${answer%:*}

    # What readline replaces begins after the last of its breaks.
    local before=$current
    while [[ -n $before && ! ( ${before: -1} == [=:@] && $COMP_WORDBREAKS == *"${before: -1}"* ) ]]; do
        before=${before%?}
    done

    COMPREPLY=()
    local candidate
    while IFS=$'\t' read -r candidate _; do
        [[ -n $candidate ]] && COMPREPLY+=("$(printf %q "${candidate#"$before"}")")
    done <<<"$answer"

    ((bits & 2)) && compopt -o nospace 2>/dev/null
    if ((bits & 16)); then
        compopt -o dirnames 2>/dev/null
    elif ! ((bits & 4)); then
        compopt -o default 2>/dev/null
        # Readline looks for files of its own where there are no candidates.
        if ((${#COMPREPLY[@]})); then
            while IFS= read -r candidate; do
                COMPREPLY+=("$candidate")
            done < <(compgen -f -- "${current#"$before"}")
        fi
    fi
    return 0
}

complete -F __berth_complete berth
