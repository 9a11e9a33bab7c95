# fish completion for berth. Load it with: berth completion fish | source
# To keep it: berth completion fish > ~/.config/fish/completions/berth.fish

function __berth_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answer (command berth __complete $words[2..-1] "$current" 2>/dev/null)
    or return
    set -l bits (string replace -r '^:' '' -- $answer[-1])
    set -e answer[-1]
    for line in $answer
        echo $line
    end
    if test (math "bitand($bits, 16)") -ne 0
        __fish_complete_directories "$current"
    else if test (math "bitand($bits, 4)") -eq 0
        __fish_complete_path "$current"
    end
end

complete -c berth -f -k -a '(__berth_complete)'
