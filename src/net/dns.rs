//! What the DNS says about the mail of a domain: SRV (RFC 2782, RFC 6186, RFC 8314) and MX (RFC 5321, 5.1).
//!
//! Host addresses are not looked up here, that is the system's resolver's; nor is anything here authenticated: who
//! answers may be anybody.

use std::{fmt, io, time::Duration};

use domain::{
    base::{Name, Rtype, iana::Rcode},
    rdata::{Mx, Srv},
    resolv::StubResolver,
};
use tokio::time::timeout;

use super::Endpoint;

/// Records that are looked at; more only come from a broken or hostile zone.
const MAX_RECORDS: usize = 20;

/// The name servers of this machine.
pub struct Dns {
    resolver: StubResolver,
    limit: Duration,
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Dns {
    /// Asks whom the system asks, and waits for no answer longer than `limit`.
    pub fn of_system(limit: Duration) -> Self {
        Self { resolver: StubResolver::new(), limit }
    }

    /// The servers of a service, `_submissions._tcp.example.com`, best first. None if there are none, or if the
    /// domain says that it has none.
    ///
    /// # Errors
    /// If no name server answers, or not with an answer.
    pub async fn services(&self, name: &str) -> io::Result<Vec<Endpoint>> {
        let Some(answer) = self.ask(name, Rtype::SRV).await? else { return Ok(Vec::new()) };
        let records = answer.answer().map_err(malformed)?.limit_to_in::<Srv<_>>();
        let mut found: Vec<(u16, u16, String, u16)> = records
            .flatten()
            .take(MAX_RECORDS)
            .map(|record| record.into_data())
            .map(|srv| (srv.priority(), u16::MAX - srv.weight(), host(srv.target()), srv.port()))
            // A lone dot: the service is decidedly not there.
            .filter(|(_, _, host, port)| !host.is_empty() && *port != 0)
            .collect();
        found.sort();
        Ok(found.into_iter().map(|(_, _, host, port)| Endpoint { host, port }).collect())
    }

    /// The hosts that take a domain's mail, best first.
    ///
    /// # Errors
    /// As [`Dns::services`].
    pub async fn mail_exchangers(&self, domain: &str) -> io::Result<Vec<String>> {
        let Some(answer) = self.ask(domain, Rtype::MX).await? else { return Ok(Vec::new()) };
        let records = answer.answer().map_err(malformed)?.limit_to_in::<Mx<_>>();
        let mut found: Vec<(u16, String)> = records
            .flatten()
            .take(MAX_RECORDS)
            .map(|record| record.into_data())
            .map(|mx| (mx.preference(), host(mx.exchange())))
            .filter(|(_, host)| !host.is_empty())
            .collect();
        found.sort();
        Ok(found.into_iter().map(|(_, host)| host).collect())
    }

    async fn ask(&self, name: &str, kind: Rtype) -> io::Result<Option<domain::resolv::stub::Answer>> {
        let name: Name<Vec<u8>> =
            name.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "it is no domain name"))?;
        let asked = timeout(self.limit, self.resolver.query((name, kind))).await;
        let answer = asked.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no name server answers"))??;
        match answer.header().rcode() {
            Rcode::NOERROR => Ok(Some(answer)),
            Rcode::NXDOMAIN => Ok(None),
            code => Err(io::Error::other(format!("the name server says {code}"))),
        }
    }
}

/// A name without its final dot, in small letters.
fn host(name: &impl fmt::Display) -> String {
    name.to_string().trim_end_matches('.').to_ascii_lowercase()
}

fn malformed(_: domain::base::wire::ParseError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the name server's answer cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::resolv::stub::conf::{ResolvConf, ServerConf, Transport};
    use std::net::UdpSocket;
    use tokio::task::spawn_blocking;

    /// A name server that gives the same records to whoever asks once, or says this code.
    async fn ask<T: Send + 'static>(rcode: u8, records: Vec<Vec<u8>>, question: impl AsyncFnOnce(Dns) -> T) -> T {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let server = spawn_blocking(move || {
            let mut bytes = [0; 512];
            let (count, from) = socket.recv_from(&mut bytes).unwrap();
            let end = 12 + bytes[12..count].iter().position(|&byte| byte == 0).unwrap() + 5;
            let kind = bytes[end - 3];
            let mut reply = bytes[..end].to_vec();
            (reply[2], reply[3]) = (0x81, 0x80 | rcode);
            reply[6..12].copy_from_slice(&[0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
            for record in &records {
                reply.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, u8::try_from(record.len()).unwrap()]);
                reply.extend(record);
            }
            socket.send_to(&reply, from).unwrap();
        });
        let mut conf = ResolvConf::new();
        conf.servers.push(ServerConf::new(address, Transport::UdpTcp));
        conf.finalize();
        let answer = question(Dns { resolver: StubResolver::from_conf(conf), limit: Duration::from_secs(5) }).await;
        server.await.unwrap();
        answer
    }

    fn srv(priority: u8, weight: u8, port: u16, target: &str) -> Vec<u8> {
        let mut record = vec![0, priority, 0, weight];
        record.extend(port.to_be_bytes());
        record.extend(labels(target));
        record
    }

    fn labels(name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.bytes());
        }
        bytes.push(0);
        bytes
    }

    #[tokio::test]
    async fn services_come_best_first() {
        let records = vec![
            srv(10, 1, 465, "c.example"),
            srv(0, 1, 587, "B.example"),
            srv(0, 9, 465, "a.example"),
            srv(0, 0, 0, ""),
        ];
        let found = ask(0, records, async |dns| dns.services("_submissions._tcp.example.com").await).await.unwrap();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["a.example:465", "b.example:587", "c.example:465"]);
        let none = ask(0, vec![srv(0, 0, 0, "")], async |dns| dns.services("_submission._tcp.x").await).await;
        assert_eq!(none.unwrap(), []);
    }

    #[tokio::test]
    async fn exchangers_and_refusals() {
        let mx = |preference, host: &str| [vec![0, preference], labels(host)].concat();
        let records = vec![mx(20, "b.example"), mx(10, "a.example")];
        let found = ask(0, records, async |dns| dns.mail_exchangers("example.com").await).await;
        assert_eq!(found.unwrap(), ["a.example", "b.example"]);
        assert_eq!(ask(3, vec![], async |dns| dns.mail_exchangers("example.com").await).await.unwrap(), [""; 0]);
        let error = ask(2, vec![], async |dns| dns.mail_exchangers("example.com").await).await.unwrap_err();
        assert!(error.to_string().contains("SERVFAIL"), "{error}");
        assert!(ask_nobody("a..b").await.is_err());
    }

    async fn ask_nobody(name: &str) -> io::Result<Vec<String>> {
        Dns::of_system(Duration::from_millis(1)).mail_exchangers(name).await
    }
}
