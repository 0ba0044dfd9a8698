//! Images that the HTML names by their files: found in the template's folder, sent inline.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use super::{TemplateError, find::leads_out};

/// Folders within the template's folder.
const MAX_DEPTH: usize = 4;
/// A folder with more is hardly that of a template.
const MAX_FILES: usize = 10_000;

/// The images in a folder, by the names that HTML has for them.
#[derive(Debug, Default)]
pub(super) struct Images(HashMap<String, Image>);

#[derive(Debug)]
struct Image {
    content_id: String,
    path: PathBuf,
    /// A link to a place outside the folder, which is not sent.
    leads_out: bool,
}

impl Images {
    /// Lists the images in `root`. Which of them are sent is decided by each rendered HTML. No link leads out of it if
    /// it is confined.
    pub fn of(root: &Path, is_confined: bool) -> io::Result<Self> {
        let mut images = Self::default();
        let mut ids = HashSet::new();
        let mut folders = vec![(root.to_owned(), String::new(), 0)];
        let mut count = 0;
        while let Some((folder, prefix, depth)) = folders.pop() {
            let mut entries: Vec<_> = fs::read_dir(&folder)?.collect::<Result<_, _>>()?;
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                count += 1;
                if count > MAX_FILES {
                    return Ok(images);
                }
                let Ok(name) = entry.file_name().into_string() else { continue };
                let name = format!("{prefix}{name}");
                // A link to a folder may lead anywhere, and in circles.
                if entry.file_type()?.is_dir() {
                    if depth < MAX_DEPTH {
                        folders.push((entry.path(), format!("{name}/"), depth + 1));
                    }
                    continue;
                }
                let is_image = mime_guess::from_path(&name).first().is_some_and(|kind| kind.type_() == "image");
                if is_image && entry.path().is_file() {
                    let mut content_id: String = name
                        .chars()
                        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
                        .collect();
                    while !ids.insert(content_id.clone()) {
                        content_id.insert(0, '-');
                    }
                    let leads_out = is_confined && leads_out(&entry.path(), root);
                    images.0.insert(name, Image { content_id, path: entry.path(), leads_out });
                }
            }
        }
        Ok(images)
    }

    /// Replaces the names of files in `<img src>` by `cid:`. Returns the Content-IDs and files, each once.
    ///
    /// # Errors
    /// An image that is not in the folder.
    pub fn embed(&self, name: &str, html: String) -> Result<(String, Vec<(String, PathBuf)>), TemplateError> {
        let mut found: Vec<(String, PathBuf)> = Vec::new();
        let mut out = String::new();
        let mut copied = 0;
        let mut at = 0;
        while let Some(start) = next_image(&html, at) {
            let tag = Tag::parse(&html, start);
            at = tag.end;
            let Some((from, to)) = tag.source else { continue };
            let Some(file) = local_name(&html[from..to]) else { continue };
            let image = self.find(&file).ok_or_else(|| {
                let what = match file.split('/').any(|part| part == "..") {
                    true => format!("the image '{file}' lies outside the template's folder"),
                    false => format!("there is no image '{file}' in the template's folder"),
                };
                let error = TemplateError::new(name, what);
                match crate::config::nearest(&file, self.0.keys().map(String::as_str)) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error.hint("an image on the web begins with https://"),
                }
            })?;
            if image.leads_out {
                let what = format!("the image '{file}' is a link that leads out of the template's folder");
                return Err(TemplateError::new(name, what));
            }
            out.push_str(&html[copied..from]);
            out.push_str("\"cid:");
            out.push_str(&image.content_id);
            out.push('"');
            copied = to;
            if !found.iter().any(|(id, _)| *id == image.content_id) {
                found.push((image.content_id.clone(), image.path.clone()));
            }
        }
        if found.is_empty() {
            return Ok((html, found));
        }
        out.push_str(&html[copied..]);
        Ok((out, found))
    }

    fn find(&self, file: &str) -> Option<&Image> {
        let file = file.trim_start_matches("./");
        self.0.get(file).or_else(|| self.0.get(percent_decoded(file)?.as_str()))
    }
}

/// Where the next `<img` begins, outside of comments.
fn next_image(html: &str, from: usize) -> Option<usize> {
    let bytes = html.as_bytes();
    let mut at = from;
    loop {
        at += memchr::memchr(b'<', bytes.get(at..)?)?;
        if bytes[at..].starts_with(b"<!--") {
            at += memchr::memmem::find(&bytes[at..], b"-->")?;
            continue;
        }
        let name = bytes.get(at + 1..at + 5)?;
        if name[..3].eq_ignore_ascii_case(b"img") && (name[3].is_ascii_whitespace() || name[3] == b'/') {
            return Some(at);
        }
        at += 1;
    }
}

/// A tag: where it ends, and where the value of its `src` stands, quotes included.
struct Tag {
    end: usize,
    source: Option<(usize, usize)>,
}

impl Tag {
    /// Reads the attributes as browsers do (HTML, 13.2.5.32 and following).
    fn parse(html: &str, start: usize) -> Self {
        let bytes = html.as_bytes();
        let skip = |from: usize, is: fn(&u8) -> bool| {
            bytes[from..].iter().position(|byte| !is(byte)).map_or(bytes.len(), |len| from + len)
        };
        let mut source = None;
        let mut at = start + "<img".len();
        loop {
            at = skip(at, |byte| byte.is_ascii_whitespace() || *byte == b'/');
            if at >= bytes.len() || bytes[at] == b'>' {
                return Self { end: (at + 1).min(bytes.len()), source };
            }
            let name = at;
            // An equals sign may begin a name.
            at = skip(at + 1, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b'/' | b'>' | b'='));
            let is_source = bytes[name..at].eq_ignore_ascii_case(b"src");
            let equals = skip(at, u8::is_ascii_whitespace);
            if bytes.get(equals) != Some(&b'=') {
                continue;
            }
            let from = skip(equals + 1, u8::is_ascii_whitespace);
            at = match bytes.get(from) {
                Some(quote @ (b'"' | b'\'')) => {
                    memchr::memchr(*quote, &bytes[from + 1..]).map_or(bytes.len(), |len| from + len + 2)
                }
                _ => skip(from, |byte| !byte.is_ascii_whitespace() && *byte != b'>'),
            };
            // The first of two attributes holds.
            if is_source && source.is_none() {
                source = Some((from, at));
            }
        }
    }
}

/// The name of a file, if the value of a `src` is one: neither a URL of any scheme, nor an absolute path.
fn local_name(value: &str) -> Option<String> {
    let value = match value.as_bytes().first() {
        Some(quote @ (b'"' | b'\'')) => value[1..].strip_suffix(char::from(*quote)).unwrap_or(&value[1..]),
        _ => value,
    };
    let value = unescaped(value.trim());
    let has_scheme = value.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    });
    // A placeholder is looked at when it has its value.
    let has_scheme = has_scheme || value.contains("{{");
    let is_file = !value.is_empty() && !has_scheme && !value.starts_with(['/', '\\', '#', '?']);
    is_file.then(|| value.into_owned())
}

/// The references that escaped values and editors write.
fn unescaped(value: &str) -> Cow<'_, str> {
    if !value.contains('&') {
        return value.into();
    }
    let known = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&#39;", "'"),
        ("&#x3D;", "="),
        ("&#x60;", "`"),
        ("&amp;", "&"),
    ];
    known.iter().fold(value.to_owned(), |text, (reference, c)| text.replace(reference, c)).into()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn images() -> (tempfile::TempDir, Images) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("img")).unwrap();
        for name in ["logo.png", "img/a b.jpg", "img-a-b.jpg", "body.html"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let images = Images::of(folder.path(), true).unwrap();
        (folder, images)
    }

    #[test]
    fn files_become_parts() {
        let (folder, images) = images();
        let html = "<p><img alt='>' src=logo.png><IMG\nSRC = './logo.png' /><img src=\"img/a%20b.jpg\"><img src='img-a-b.jpg'>";
        let (html, found) = images.embed("t", html.to_owned()).unwrap();
        assert_eq!(
            html,
            "<p><img alt='>' src=\"cid:logo.png\"><IMG\nSRC = \"cid:logo.png\" /><img src=\"cid:-img-a-b.jpg\">\
             <img src=\"cid:img-a-b.jpg\">"
        );
        let names: Vec<_> = found.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(names, ["logo.png", "-img-a-b.jpg", "img-a-b.jpg"]);
        assert_eq!(found[1].1, folder.path().join("img/a b.jpg"));
    }

    #[test]
    fn what_is_no_file_stays() {
        let (_folder, images) = images();
        for html in [
            "<img src=\"https://x.example/logo.png\">",
            "<img src='data:image/png;base64,AA=='>",
            "<img src=cid:logo.png>",
            "<img src=\"/srv/logo.png\">",
            "<img src=\"//x.example/logo.png\">",
            "<img src=\"\"><img><image src=logo.png>",
            "<!-- <img src=nothing.png> -->",
            "<img alt=\"src=logo.png\">",
            "<img",
        ] {
            assert_eq!(images.embed("t", html.to_owned()).unwrap(), (html.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn an_image_that_is_not_there_is_told() {
        let (_folder, images) = images();
        let error = |html: &str| images.embed("t/body.html", html.to_owned()).unwrap_err();
        let missing = error("<img src='lgoo.png'>");
        assert_eq!(missing.to_string(), "t/body.html: there is no image 'lgoo.png' in the template's folder");
        assert_eq!(missing.hints, ["did you mean 'logo.png'?"]);
        for html in ["<img src='../../etc/x.png'>", "<img src='img/../logo.png'>"] {
            assert!(error(html).to_string().contains("lies outside"), "{html}");
        }
        assert!(error("<img src='body.html'>").to_string().contains("there is no image"));
    }

    proptest! {
        #[test]
        fn any_html_is_read_to_its_end(html in "(<img|src|=|\"|'|>|/| |logo.png|<!--|-->|ü|&amp;|%2){0,30}") {
            let (_folder, images) = images();
            if let Ok((out, _)) = images.embed("t", html.clone()) {
                prop_assert!(out.len() >= html.len());
            }
        }
    }
}
