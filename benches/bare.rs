//! The same octets by the same dialogue, ready-made and without any thought: what is left is the cost of the line.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::peers::{FROM, TO};

/// Sends the message, whose lines begin with no dot, and tells how long that took.
pub fn copy(port: u16, message: &[u8], is_chunked: bool, ca: Option<&str>) -> io::Result<Duration> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    replies(&mut stream, 1)?;
    say(&mut stream, "EHLO bare.example", 1)?;
    match ca {
        None => transact(&mut stream, message, is_chunked)?,
        Some(ca) => {
            say(&mut stream, "STARTTLS", 1)?;
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(ca.as_bytes()).map_err(io::Error::other)?)
                .map_err(io::Error::other)?;
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)?
                .with_root_certificates(roots)
                .with_no_client_auth();
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, stream);
            say(&mut stream, "EHLO bare.example", 1)?;
            say(&mut stream, "AUTH PLAIN AGEAYg==", 1)?;
            transact(&mut stream, message, is_chunked)?;
        }
    }
    Ok(start.elapsed())
}

fn transact(stream: &mut (impl Read + Write), message: &[u8], is_chunked: bool) -> io::Result<()> {
    let envelope = format!("MAIL FROM:<{FROM}>\r\nRCPT TO:<{TO}>");
    if is_chunked {
        say(stream, &envelope, 2)?;
        stream.write_all(format!("BDAT {} LAST\r\n", message.len()).as_bytes())?;
        stream.write_all(message)?;
    } else {
        say(stream, &format!("{envelope}\r\nDATA"), 3)?;
        stream.write_all(message)?;
        stream.write_all(b".\r\n")?;
    }
    stream.flush()?;
    replies(stream, 1)?;
    stream.write_all(b"QUIT\r\n")?;
    stream.flush()
}

fn say(stream: &mut (impl Read + Write), line: &str, count: usize) -> io::Result<()> {
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    stream.flush()?;
    replies(stream, count)
}

/// Reads until so many replies have come.
fn replies(stream: &mut impl Read, count: usize) -> io::Result<()> {
    let mut all = Vec::new();
    let mut block = [0; 4096];
    loop {
        let lines = all.split_inclusive(|&byte| byte == b'\n');
        if lines.filter(|line| line.ends_with(b"\n") && line.get(3) == Some(&b' ')).count() >= count {
            return Ok(());
        }
        match stream.read(&mut block)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => all.extend_from_slice(&block[..count]),
        }
    }
}
