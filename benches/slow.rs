//! A server that takes its time.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

/// A server without extensions that thinks about everything for a second.
pub fn start() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let talk = move || -> io::Result<()> {
                let mut writer = stream.try_clone()?;
                writer.write_all(b"220 slow.example\r\n")?;
                let mut is_content = false;
                for line in BufReader::new(stream).lines() {
                    let line = line?;
                    let reply: &[u8] = match (is_content, line.as_str()) {
                        (true, ".") => b"250 taken\r\n",
                        (true, _) => continue,
                        (false, "DATA") => b"354 go ahead\r\n",
                        (false, _) => b"250 fine\r\n",
                    };
                    is_content = !is_content && line == "DATA";
                    thread::sleep(Duration::from_secs(1));
                    writer.write_all(reply)?;
                }
                Ok(())
            };
            let spawned = thread::Builder::new().stack_size(64 * 1024).spawn(move || drop(talk()));
            spawned.expect("a thread");
        }
    });
    port
}
