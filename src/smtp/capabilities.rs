//! What a server offers in its reply to EHLO (RFC 5321, 4.1.1.1).

use crate::mail::Reply;

/// The extensions of the last EHLO. After HELO there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Keyword in upper case, and its parameters.
    offers: Vec<(String, Vec<String>)>,
}

impl Capabilities {
    /// Reads the reply to EHLO; its first line is the server's name.
    pub fn from_ehlo(reply: &Reply) -> Self {
        let mut offers: Vec<(String, Vec<String>)> = Vec::new();
        for line in reply.lines.iter().skip(1) {
            // Some old servers write "AUTH=LOGIN" beside "AUTH LOGIN".
            let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
            let Some(keyword) = words.next() else { continue };
            let keyword = crate::mail::clean(keyword).to_ascii_uppercase();
            let words = words.map(crate::mail::clean);
            match offers.iter_mut().find(|(known, _)| *known == keyword) {
                Some((_, parameters)) => {
                    for word in words {
                        if !parameters.contains(&word) {
                            parameters.push(word);
                        }
                    }
                }
                None => offers.push((keyword, words.collect())),
            }
        }
        Self { offers }
    }

    /// Whether the extension is offered; `keyword` is in upper case.
    pub fn has(&self, keyword: &str) -> bool {
        self.offers.iter().any(|(known, _)| known == keyword)
    }

    /// The largest message the server takes (RFC 1870), if it says so.
    pub fn size_limit(&self) -> Option<u64> {
        self.parameters("SIZE").first()?.parse().ok().filter(|&size| size > 0)
    }

    /// Login mechanisms in the server's order, in upper case (RFC 4954).
    pub fn mechanisms(&self) -> Vec<String> {
        self.parameters("AUTH").iter().map(|name| name.to_ascii_uppercase()).collect()
    }

    /// Every offer on a line of its own, as the server wrote it.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.offers.iter().map(|(keyword, parameters)| {
            std::iter::once(keyword).chain(parameters).map(String::as_str).collect::<Vec<_>>().join(" ")
        })
    }

    fn parameters(&self, keyword: &str) -> &[String] {
        self.offers.iter().find(|(known, _)| known == keyword).map_or(&[], |(_, parameters)| parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_of_real_servers() {
        let lines = [
            "mx.example Hello",
            "pipelining",
            "SIZE 10485760",
            "AUTH PLAIN LOGIN",
            "AUTH=PLAIN login XOAUTH2",
            "",
            "8BITMIME",
            "X\x1b[2J",
        ];
        let reply = Reply { code: 250, lines: lines.map(str::to_owned).to_vec() };
        let offers = Capabilities::from_ehlo(&reply);
        assert!(
            offers.has("PIPELINING") && offers.has("8BITMIME") && !offers.has("MX.EXAMPLE") && !offers.has("CHUNKING")
        );
        assert_eq!(offers.size_limit(), Some(10_485_760));
        assert_eq!(offers.mechanisms(), ["PLAIN", "LOGIN", "LOGIN", "XOAUTH2"]);
        assert!(offers.lines().all(|line| !line.contains('\x1b')));
        for odd in ["SIZE", "SIZE 0", "SIZE x", "SIZE -1"] {
            let reply = Reply { code: 250, lines: vec!["mx".to_owned(), odd.to_owned()] };
            assert_eq!(Capabilities::from_ehlo(&reply).size_limit(), None, "{odd}");
        }
    }
}
