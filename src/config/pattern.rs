//! Patterns for senders: `*` stands for any text, `?` for one character; case does not matter.

/// Which senders a profile is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<char>);

impl Pattern {
    /// Reads a pattern; `<>` and an empty one are for the null sender.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !matches!(text, "" | "<>" | "*") && !text.contains('@') {
            return Err(format!("'{}' matches no address: *@example.com is wanted, or <>", crate::mail::clean(text)));
        }
        Ok(Self(if text == "<>" { Vec::new() } else { lower(&ascii_domain(text)) }))
    }

    /// Whether the sender, empty for the null sender, is meant. The null sender is only meant by its own pattern.
    pub fn matches(&self, sender: &str) -> bool {
        let sender = lower(sender);
        let (mut p, mut s, mut star) = (0, 0, None);
        if sender.is_empty() {
            return self.0.is_empty();
        }
        while s < sender.len() {
            match self.0.get(p) {
                Some('*') => {
                    star = Some((p, s));
                    p += 1;
                }
                Some(&c) if c == '?' || c == sender[s] => (p, s) = (p + 1, s + 1),
                // The last star takes one character more.
                _ => match star {
                    Some((at, from)) => {
                        star = Some((at, from + 1));
                        (p, s) = (at + 1, from + 1);
                    }
                    None => return false,
                },
            }
        }
        self.0[p..].iter().all(|&c| c == '*')
    }

    /// How closely it describes: the more characters it names, the more.
    pub fn weight(&self) -> usize {
        self.0.iter().filter(|c| !matches!(c, '*' | '?')).count()
    }
}

/// The labels of the domain as addresses have them (RFC 5891); what holds a star cannot be encoded.
fn ascii_domain(text: &str) -> String {
    let Some((local, domain)) = text.rsplit_once('@') else { return text.to_owned() };
    let labels = domain.split('.').map(|label| idna::domain_to_ascii(label).unwrap_or_else(|_| label.to_owned()));
    format!("{local}@{}", labels.collect::<Vec<_>>().join("."))
}

fn lower(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, sender: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(sender)
    }

    #[test]
    fn stars_and_question_marks() {
        assert!(matches("*@work.example", "Ada@WORK.example"));
        assert!(!matches("*@work.example", "ada@sub.work.example"));
        assert!(!matches("*@work.example", "ada@work.example.com"));
        assert!(
            matches("me+*@home.example", "me+list@home.example") && matches("me+*@home.example", "me+@home.example")
        );
        assert!(!matches("me+*@home.example", "me@home.example"));
        assert!(matches("a?c@*", "abc@x") && !matches("a?c@*", "ac@x"));
        assert!(matches("*@*.example", "a@b.c.example") && matches("**@x", "a@x") && matches("*", "a@x"));
        assert!(matches("<>", "") && matches("", "") && !matches("*", "") && !matches("<>", "a@x"));
        assert!(matches("*@*.bücher.example", "ada@mx.xn--bcher-kva.example"));
        assert!(Pattern::parse("work.example").is_err());
    }

    proptest! {
        /// An address matches itself, and itself with any part replaced by a star; it ends soon whatever is asked.
        #[test]
        fn a_part_may_be_a_star(sender in "[a-c]{0,6}@[a-c]{0,6}", from in 0_usize..13, length in 0_usize..13) {
            let from = from.min(sender.len());
            let to = (from + length).min(sender.len());
            prop_assert!(Pattern(lower(&sender)).matches(&sender));
            let pattern = format!("{}*{}", &sender[..from], &sender[to..]);
            prop_assert!(Pattern(lower(&pattern)).matches(&sender), "{} {}", pattern, sender);
        }
    }
}
