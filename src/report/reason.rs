//! What many refusals have in common: their words without the names in them; and how often each came, in bounded memory.

use std::{collections::HashMap, hash::Hash};

/// Longest text of a reason.
const LONGEST: usize = 160;

/// The words of a server, or of what went wrong, without what is different for each recipient: addresses, numbers, names
/// of messages.
pub(super) fn general(text: &str, recipient: &str) -> String {
    let user = recipient.rsplit_once('@').map_or(recipient, |(user, _)| user);
    let mut out = String::new();
    let mut was_left_out = false;
    for word in text.split_whitespace() {
        let core = word.trim_matches(|c: char| !c.is_alphanumeric());
        let is_left_out = core.eq_ignore_ascii_case(user) || is_particular(word, core);
        if is_left_out && was_left_out {
            continue;
        }
        was_left_out = is_left_out;
        if !out.is_empty() {
            out.push(' ');
        }
        if is_left_out {
            out.push('…');
            out.extend(word.chars().last().filter(|c| matches!(c, ':' | ',' | '.' | ';')));
        } else {
            out.push_str(word);
        }
        if out.len() > LONGEST {
            let end = out.floor_char_boundary(LONGEST);
            out.truncate(end);
            out.push('…');
            break;
        }
    }
    out
}

/// Whether the word names something: it has an '@', or digits that are neither a status code nor part of a short name such
/// as IPv6 or of a server's.
fn is_particular(word: &str, core: &str) -> bool {
    let digits = core.bytes().filter(u8::is_ascii_digit).count();
    let is_status = crate::mail::EnhancedStatus::parse(core).is_some();
    let is_name = digits <= 2 && core.len() <= 8 && core.bytes().any(|b| b.is_ascii_alphabetic());
    let is_server = core.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.bytes().any(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    word.contains('@') || (digits > 0 && !is_status && !is_name && !is_server)
}

/// How often what came; of many different things those that come often are kept, the others are one.
#[derive(Debug, Clone)]
pub(super) struct Tops<K> {
    counts: HashMap<K, u64>,
    others: u64,
}

/// Different things that are kept at most.
const KEPT: usize = 1024;

impl<K> Default for Tops<K> {
    fn default() -> Self {
        Self { counts: HashMap::new(), others: 0 }
    }
}

impl<K: Hash + Eq + Ord + Clone> Tops<K> {
    /// So many more of this.
    pub fn add(&mut self, key: K, count: u64) {
        *self.counts.entry(key).or_default() += count;
        if self.counts.len() > KEPT {
            let mut kept: Vec<(K, u64)> = self.counts.drain().collect();
            kept.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            self.others += kept.split_off(KEPT / 2).iter().map(|(_, count)| count).sum::<u64>();
            self.counts = kept.into_iter().collect();
        }
    }

    /// The most frequent, and how many there were of all others.
    pub fn top(&self, number: usize) -> (Vec<(K, u64)>, u64) {
        let mut all: Vec<(K, u64)> = self.counts.iter().map(|(key, count)| (key.clone(), *count)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let rest: u64 = all.iter().skip(number).map(|(_, count)| count).sum();
        all.truncate(number);
        (all, self.others + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_left_out() {
        for (text, expected) in [
            (
                "5.1.1 <b@y.example>: Recipient address rejected: User unknown",
                "5.1.1 …: Recipient address rejected: User unknown",
            ),
            ("5.1.1 no mailbox b here", "5.1.1 no mailbox … here"),
            ("4.2.0 greylisted, try again in 299 seconds", "4.2.0 greylisted, try again in … seconds"),
            ("4.7.1 B: rate of 192.0.2.1 at 12:00:03 exceeded.", "4.7.1 …: rate of … at … exceeded."),
            ("smtp.example.com:587: refused", "smtp.example.com:587: refused"),
            ("IPv6 needs a PTR, TLS1.2 too", "IPv6 needs a PTR, TLS1.2 too"),
            ("no such user d2e1a7c6-5d0f.4fb4 12345", "no such user …"),
            ("", ""),
        ] {
            assert_eq!(general(text, "b@y.example"), expected, "{text}");
        }
        let long = general(&"ü ".repeat(1000), "b@y.example");
        assert!(long.len() <= LONGEST + 6 && long.ends_with('…'), "{long}");
    }

    #[test]
    fn what_comes_often_is_kept() {
        let mut tops = Tops::default();
        for number in 0..100_000_u64 {
            tops.add(number + 10, 1);
            tops.add(number % 3, 1);
        }
        let (top, others) = tops.top(3);
        assert_eq!(top, [(0, 33_334), (1, 33_333), (2, 33_333)]);
        assert_eq!(others, 100_000);
        assert!(tops.counts.len() <= KEPT);
    }
}
