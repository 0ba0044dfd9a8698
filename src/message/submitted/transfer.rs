//! Bodies that are encoded already and cannot go as they are: the same text on lines that can (RFC 2045, 6.7 and 6.8).

/// Octets of an encoded line (RFC 2045, 6.7 and 6.8).
const WIDTH: usize = 76;

/// Puts Base64 on lines of 76. What is no Base64 is nothing to whoever decodes it.
pub(super) fn rewrapped(body: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = body
        .iter()
        .copied()
        .filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
        .collect();
    digits.chunks(WIDTH).collect::<Vec<_>>().join(&b"\r\n"[..])
}

/// Cuts long lines of quoted-printable, and encodes what should have been.
pub(super) fn requoted(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 8);
    let mut rest = body;
    let mut column = 0;
    while let Some(&first) = rest.first() {
        let (length, is_end) = match rest {
            [b'\n', ..] => (1, true),
            [b'\r', b'\n', ..] | [b'=', b'\n', ..] => (2, true),
            [b'=', b'\r', b'\n', ..] => (3, true),
            [b'=', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => (3, false),
            _ => (1, false),
        };
        let (token, behind) = rest.split_at(length);
        rest = behind;
        if is_end {
            out.extend_from_slice(if first == b'=' { b"=\r\n" } else { b"\r\n" });
            column = 0;
            continue;
        }
        let is_cut = column + 3 >= WIDTH;
        if is_cut {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        let before = out.len();
        // A dash at the start of a line that was none could make a boundary.
        if length == 1 && (!matches!(first, b'\t' | b' '..=b'~') || (is_cut && first == b'-')) {
            out.extend_from_slice(format!("={first:02X}").as_bytes());
        } else {
            out.extend_from_slice(token);
        }
        column += out.len() - before;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::lines::{MAX_LINE, with_crlf_inside};
    use proptest::prelude::*;

    #[test]
    fn encoded_bodies_are_put_on_shorter_lines() {
        let body = encodify::base64::STANDARD.encode([7; 3_000]);
        let lines = rewrapped([&body, "\0\r=\n"].concat().as_bytes());
        assert!(lines.split(|&byte| byte == b'\n').all(|line| line.len() <= 77));
        assert_eq!(encodify::base64::MIME.decode(&lines).unwrap(), [7; 3_000]);
        assert_eq!(rewrapped(b"YQ\n==\n"), b"YQ==");
        assert_eq!(requoted(b"a=\nb =3D\r\n\xFC\r\0=\r\n=zz "), b"a=\r\nb =3D\r\n=FC=0D=00=\r\n=zz ");
        let long = requoted(&[b'-'; 200]);
        assert_eq!(long[..72], [b'-'; 72]);
        assert!(long[72..].starts_with(b"-=\r\n=2D---"), "{}", String::from_utf8_lossy(&long));
    }

    fn any_octet() -> impl Strategy<Value = u8> {
        prop_oneof![Just(b'a'), Just(b'-'), Just(b' '), any::<u8>()]
    }

    proptest! {
        #[test]
        fn a_text_in_quoted_printable_stays_the_same(bytes in proptest::collection::vec(any_octet(), 0..400)) {
            let encoded: Vec<u8> = encodify::qp::BODY.encode(&bytes).into_bytes();
            // As programs write it that cut no lines.
            let long = String::from_utf8(encoded).unwrap().replace("=\r\n", "").into_bytes();
            let lines = requoted(&long);
            for line in lines.split(|&byte| byte == b'\n') {
                prop_assert!(line.len() <= 77 && line.len() <= MAX_LINE && line.is_ascii());
            }
            prop_assert_eq!(encodify::qp::BODY.decode(&lines).unwrap(), with_crlf_inside(&bytes));
        }
    }
}
