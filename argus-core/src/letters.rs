//! Letters of any script become known: hidden, mixed into a word of another script, or fine.
//!
//! Source: Unicode Technical Standard 39, by the `unicode-security` crate.

use unicode_security::{MixedScript, skeleton};

/// Whether a character reorders or hides text, or is seen as nothing.
pub(crate) fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The start of a text, as an error shows it.
pub(crate) fn short(text: &str) -> String {
    text.chars()
        .take(40)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// The first word that mixes scripts, as a look-alike letter inside an English word does.
pub(crate) fn mixed_word(text: &str) -> Option<&str> {
    text.split(|c: char| c.is_whitespace() || c.is_ascii_punctuation())
        .find(|word| !word.is_ascii() && !word.is_single_script())
}

/// The ASCII text that `c` is mistaken for, if there is one.
pub(crate) fn mistaken_for(c: char) -> Option<String> {
    let text = c.to_string();
    let same: String = skeleton(&text).collect();
    (same.is_ascii() && same != text).then_some(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_one_script_are_fine_and_mixed_ones_are_found() {
        for fine in [
            "gr\u{fc}n",
            "\u{43c}\u{438}\u{440} and peace",
            "\u{30b3}\u{30d4}\u{30fc}",
            "caf\u{e9} 2",
            "ok \u{1f600}",
        ] {
            assert_eq!(mixed_word(fine), None, "{fine}");
        }
        assert_eq!(mixed_word("run d\u{435}ploy now"), Some("d\u{435}ploy"));
        assert_eq!(mistaken_for('\u{435}').as_deref(), Some("e"));
        assert_eq!(mistaken_for('\u{fc}'), None);
    }
}
