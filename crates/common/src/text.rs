//! Texts that strangers chose.

/// Whether a character shows as itself. Control characters break lines and headers; marks of
/// direction make `cod.3pm` read as `mp3.doc` and run on into the words around them; the rest
/// cannot be seen at all.
pub fn is_visible(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::is_visible;

    #[test]
    fn letters_of_all_scripts_are_visible_and_what_turns_them_round_is_not() {
        // The joiners belong to Persian words and to families of emoji.
        assert!("Füße 映画 שלום سلام می\u{200c}خواهم 👩\u{200d}👩\u{200d}👧 \"'<>".chars().all(is_visible));
        for c in ['\r', '\n', '\0', '\u{7f}', '\u{85}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{2028}', '\u{feff}'] {
            assert!(!is_visible(c), "{c:?}");
        }
    }
}
