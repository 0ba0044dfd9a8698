//! Opens an address or a file in the user's browser, where there is one.

use std::{process::Stdio, thread};

use crate::{config::Environment, secret::environ};

/// Starts a browser; tells whether one could be started. Nobody waits for it.
pub fn open(environment: &Environment, address: &str) -> bool {
    candidates(environment, address).into_iter().any(|words| start(&words))
}

/// Command lines to try, one after the other.
fn candidates(environment: &Environment, address: &str) -> Vec<Vec<String>> {
    let mut commands: Vec<Vec<String>> = Vec::new();
    // Several commands with colons between them, each with %s for the address, or with the address behind it.
    for command in environment.get("BROWSER").into_iter().flat_map(|list| list.split(':')) {
        let mut words: Vec<String> = command.split_whitespace().map(|word| word.replace("%s", address)).collect();
        if words.is_empty() {
            continue;
        }
        if !command.contains("%s") {
            words.push(address.to_owned());
        }
        commands.push(words);
    }
    let own: &[&str] = if cfg!(target_os = "macos") {
        &["open"]
    } else if cfg!(windows) {
        // cmd's `start` would read the '&' of the address.
        &["rundll32", "url.dll,FileProtocolHandler"]
    } else if ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| environment.get(name).is_some()) {
        &["xdg-open"]
    } else {
        &[]
    };
    if !own.is_empty() {
        commands.push(own.iter().copied().chain([address]).map(str::to_owned).collect());
    }
    commands
}

fn start(words: &[String]) -> bool {
    let Some((program, arguments)) = words.split_first() else { return false };
    let mut command = environ::command(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(mut child) => {
            // How it ends says nothing: some hand over to another process.
            thread::spawn(move || drop(child.wait()));
            true
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked() {
        let environment = Environment::from([("BROWSER", "lynx:w3m -x %s::firefox")]);
        let commands = candidates(&environment, "http://x/?a=b&c");
        let lines: Vec<String> = commands.iter().map(|words| words.join(" ")).collect();
        assert_eq!(lines[..3], ["lynx http://x/?a=b&c", "w3m -x http://x/?a=b&c", "firefox http://x/?a=b&c"]);
        #[cfg(target_os = "linux")]
        {
            assert_eq!(lines.len(), 3);
            assert_eq!(candidates(&Environment::from([("DISPLAY", ":0")]), "x"), [["xdg-open", "x"]]);
            assert!(!open(&Environment::default(), "x"));
        }
        assert!(!start(&["/nonesuch".to_owned()]));
    }
}
