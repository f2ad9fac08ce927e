# Sourced, after options.sh, by recipes whose model writes words of phones: the language model of words, from TEXT or
# LibriSpeech's text, and a lexicon of its words and those of the transcripts. Steps that are done are skipped.
#     find_text                      # before the corpus is prepared, as it may fail
#     more_texts=(FILE ...)          # what the language model learns beside TEXT
#     lm_options=(OPTION ...)        # of asr lm train, and g2p_options of asr lexicon train
#     make_lexicon MANIFEST ...      # sentences that share seven words with these are left out of the language model
# Sets made (the folder of the manifests); adds data.lexicon, data.lm and data.g2p to settings.
made=$data/$name more_texts=() lm_options=(--order 3 --min-count 3) g2p_options=()

find_text() {
    read -rd '' -a texts <<<"${TEXT:-}" || true # names, divided by any white space
    for text in ${texts[@]+"${texts[@]}"}; do
        [ -r "$text" ] || { echo "error: $text: no such file (TEXT); names are divided by spaces" >&2 && exit 2; }
    done
    if [ -d "$made/lm" ] && [ ${#texts[@]} -gt 0 ]; then
        echo "note: TEXT is not used: $made/lm is there; delete it and $made/lexicon.dict for another one" >&2
    elif [ ! -d "$made/lm" ] && [ ${#texts[@]} = 0 ]; then
        all=$(asr lm download --data "$data" ${MIRROR:+--mirror "$MIRROR"}) || {
            echo "or name texts of your own, one sentence a line: TEXT=\"books.txt.xz more.txt\"" >&2
            exit 1
        }
    fi
}

make_lexicon() {
    local manifest without=()
    for manifest in "$@"; do [ ! -f "$made/$manifest.jsonl" ] || without+=(--without "$made/$manifest.jsonl"); done
    dictionary=$(asr lexicon download --output "$data/cmudict")
    [ -d "$made/g2p" ] || asr lexicon train "$dictionary" ${g2p_options[@]+"${g2p_options[@]}"} --output "$made/g2p"
    if [ ! -d "$made/lm" ]; then
        if [ ${#texts[@]} = 0 ]; then # one sentence in 16 of 803 million words
            texts=("$made/text.txt.gz")
            gzip -cd "$all" | awk 'NR % 16 == 1' | gzip -1 >"${texts[0]}"
        fi
        asr lm train "${texts[@]}" ${more_texts[@]+"${more_texts[@]}"} ${without[@]+"${without[@]}"} "${lm_options[@]}" \
            --output "$made/lm"
    fi
    [ -f "$made/lexicon.dict" ] || asr lexicon make "$made/lm" "$made/train.jsonl" --dict "$dictionary" \
        --g2p "$made/g2p" --output "$made/lexicon.dict"
    settings=(data.lexicon="$made/lexicon.dict" data.lm="$made/lm" data.g2p="$made/g2p" ${settings[@]+"${settings[@]}"})
}

tune() { # where the model has its own language model, which one of letters has not
    [ ! -d "$run/model/lm" ] || asr lm tune "$run/model/lm" "$made/dev.jsonl" --model "$run" --device "$device"
}
