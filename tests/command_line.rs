//! The first five minutes: what is said to who types something wrong, or nothing.

use crate::support::Sandbox;

#[test]
fn alone_it_says_four_things_to_try() {
    let run = Sandbox::new().run(&[]).exits(64);
    assert_eq!(run.stderr.lines().count(), 6);
    assert_eq!(run.stderr.lines().filter(|line| line.starts_with("  mailsend ")).count(), 4);
    assert_eq!(run.stdout, "");
}
