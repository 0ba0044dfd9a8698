//! Tables of every kind, and the bad ones: nothing is sent while a row is wrong.

use super::{batch, is_refused, people, records, who};
use crate::support::{Sandbox, sink::Sink};

const WANTED: [&str; 2] = ["ada@y.example", "bob@y.example"];

#[test]
fn tables_of_every_kind() {
    let tables = [
        ("a.csv", "to,first name\nada@y.example,Ada\nbob@y.example,\"Bob, Jr\"\n"),
        ("b.csv", "\u{feff}to;first name\r\nada@y.example;Ada\r\nbob@y.example;\"Bob, Jr\"\r\n"),
        ("c.tsv", "to\tfirst name\nada@y.example\tAda\nbob@y.example\tBob, Jr\n"),
        (
            "d.jsonl",
            "{\"to\":\"ada@y.example\",\"first name\":\"Ada\"}\n{\"to\":[\"bob@y.example\"],\"first name\":\"Bob, Jr\"}\n",
        ),
        (
            "e.json",
            "[{\"E-Mail\":\"ada@y.example\",\"first name\":\"Ada\"},\n{\"E-Mail\":\"bob@y.example\",\"first name\":\"Bob, Jr\"}]",
        ),
    ];
    for (name, table) in tables {
        let sandbox = Sandbox::new();
        let sink = Sink::new("PIPELINING");
        let url = sink.url();
        let file = sandbox.file(name, table);
        let arguments =
            ["batch", &file, "--server", &url, "-r", "s@x.example", "--body", "x", "-s", "For {{first_name}}"];
        sandbox.run(&arguments).exits(0);
        assert_eq!(who(&sink), WANTED, "{name}");
        let mut subjects: Vec<_> = sink.taken().iter().map(|taken| taken.field("Subject")).collect();
        subjects.sort();
        assert_eq!(subjects, [Some("For Ada".to_owned()), Some("For Bob, Jr".to_owned())], "{name}");
        // The same from standard input, where nobody says what it is.
        let piped: Vec<&str> = arguments.iter().map(|word| if *word == file { "-" } else { *word }).collect();
        sandbox.run_with(&piped, table.as_bytes()).exits(0);
        assert_eq!(sink.count(), 4, "{name} from standard input");
    }
}

#[test]
fn latin_1_and_utf_16_are_read_as_they_are_meant() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("");
    let url = sink.url();
    let wide: Vec<u8> =
        [0xfeff].into_iter().chain("to,n\nada@y.example,Grüße\n".encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let tables: [(&[u8], &[&str]); 2] =
        [(b"to,n\nada@y.example,Gr\xfc\xdfe\n", &["--encoding", "iso-8859-1"]), (&wide, &[])];
    for (table, options) in tables {
        let file = sandbox.file("people.csv", table);
        let arguments = ["batch", &file, "--server", &url, "-r", "s@x.example", "-s", "x", "--body", "{{n}}"];
        sandbox.run(&[&arguments[..], options].concat()).exits(0);
    }
    for taken in sink.taken() {
        assert!(taken.content.contains("Gr=C3=BC=C3=9Fe") || taken.content.contains("R3LDvMOfZQ"), "{taken:?}");
    }
    assert_eq!(sink.count(), 2);
}

#[test]
fn a_maildir_takes_a_batch() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("people.csv", people(12));
    let ledger = sandbox.path("run.jsonl");
    sandbox.run(&batch(&file, "maildir:box", &["--report", "run.jsonl"])).exits(0);
    assert_eq!(std::fs::read_dir(sandbox.path("box/new")).expect("a maildir").count(), 12);
    assert_eq!(super::ended(&ledger, "accepted"), 12);
}

/// Every complaint names its row, and where it can its column; the good rows do not leave.
#[test]
fn nothing_is_sent_while_a_row_is_bad() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("");
    let url = sink.url();
    let refuse = |table: &[u8], options: &[&str], texts: &[&str]| {
        let file = sandbox.file("people.csv", table);
        let arguments = ["batch", &file, "--server", &url, "-r", "s@x.example", "--body", "x"];
        is_refused(sandbox.run(&[&arguments[..], options].concat()), &sink, texts);
    };
    let good = "to,n\nada@y.example,1\n";
    let table = format!("{good}nobody,2\nbob@y.example,3\n\"eve@y.example, @\",4\n");
    refuse(table.as_bytes(), &[], &["2 rows cannot be sent", "row 2", "row 4", "'to'", "--skip-bad-rows"]);
    // A line break in a subject would be another field.
    let table = format!("{good}bob@y.example,\"3\r\nBcc: spy@y.example\"\n");
    refuse(table.as_bytes(), &["-s", "For {{n}}"], &["row 2", "--subject"]);
    refuse(table.as_bytes(), &["-H", "X-N: {{n}}"], &["row 2", "--header"]);
    sandbox.file("notice/subject.txt", "For {{n}}");
    sandbox.file("notice/body.txt", "x");
    let template = ["batch", "people.csv", "--server", &url, "-r", "s@x.example", "--template", "./notice"];
    is_refused(sandbox.run(&template), &sink, &["row 2", "subject.txt"]);
    // Cells without end, columns without end, no UTF-8.
    let table = [good.as_bytes(), b"bob@y.example,", &vec![b'x'; 20_000_000], b"\n"].concat();
    refuse(&table, &["-s", "For {{n}}"], &["row 2"]);
    let table = format!("{good}bob@y.example{}\n", ",x".repeat(299));
    refuse(table.as_bytes(), &["-s", "x"], &["row 2", "300"]);
    refuse(&[good.as_bytes(), b"bob@y.example,\xff\xfe\n"].concat(), &["-s", "x", "--encoding", "utf-8"], &["row 2"]);
    // A name that is no column.
    refuse(good.as_bytes(), &["-s", "For {{m}}"], &["'m'", "--subject"]);
    refuse(b"name,n\nada@y.example,1\n", &["-s", "x"], &["there is no column 'to' or 'email'"]);
    refuse(b"", &["-s", "x"], &["empty"]);
}

#[test]
fn a_header_alone_is_no_table() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("");
    let url = sink.url();
    let file = sandbox.file("people.csv", "to,n\n");
    is_refused(sandbox.run(&batch(&file, &url, &[])), &sink, &["a header, but no rows"]);
}

#[test]
fn files_that_are_not_there() {
    let sandbox = Sandbox::new();
    sandbox.run(&batch("gone.csv", "maildir:box", &[])).exits(66).says("gone.csv");
    let file = sandbox.file("people.csv", people(1));
    sandbox.run(&batch(&file, "maildir:box", &["--template", "gone"])).exits(66).says("gone");
    sandbox.run(&batch(&file, "maildir:box", &["--exclude", "gone.txt"])).exits(66).says("gone.txt");
    sandbox
        .run(&batch(&file, "maildir:box", &["--to-column", "nn"]))
        .exits(65)
        .says("there is no column 'nn'")
        .says("'n'");
    assert!(!sandbox.path("box").exists());
}

#[test]
fn the_good_rows_go_and_the_bad_ones_come_back() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("");
    let url = sink.url();
    let file = sandbox.file("people.csv", "to,n\nada@y.example,1\nnobody,2\nbob@y.example,3\n\"x, y@\",4\n");
    let ledger = sandbox.path("run.jsonl");
    let run = sandbox
        .run(&batch(&file, &url, &["--report", "run.jsonl", "--skip-bad-rows", "--failed", "bad.csv"]))
        .exits(1)
        .says("row 2");
    assert_eq!(who(&sink), WANTED, "{run:#?}");
    let skipped: Vec<_> =
        records(&ledger, "outcome").into_iter().filter(|record| record["state"] == "skipped").collect();
    assert_eq!(skipped.iter().map(|record| record["row"].as_u64()).collect::<Vec<_>>(), [Some(2), Some(4)]);
    assert!(skipped[0]["error"].to_string().contains("nobody"), "{skipped:?}");
    let bad = std::fs::read_to_string(sandbox.path("bad.csv")).expect("the failed rows");
    assert!(bad.starts_with("to,n,error\nnobody,2,"), "{bad}");
    assert_eq!(bad.lines().count(), 3, "{bad}");
    // Mended, it is a table again.
    sandbox.file("bad.csv", bad.replace("nobody,", "cid@y.example,").replace("x, y@", "dot@y.example"));
    sandbox.run(&batch("bad.csv", &url, &["--failed", "worse.csv"])).exits(0);
    assert_eq!(who(&sink), ["ada@y.example", "bob@y.example", "cid@y.example", "dot@y.example"]);
    assert_eq!(std::fs::read_to_string(sandbox.path("worse.csv")).expect("a file"), "to,n,error\n");
}

#[test]
fn a_template_brings_its_own_table() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("");
    sandbox.config(
        "[templates.notice]\nsubject = \"For {{n}}\"\ntext = \"notice.txt\"\n\
         data = { command = \"printf 'to,n\\\\nada@y.example,1\\\\nbob@y.example,2\\\\n'\" }\n",
    );
    sandbox.file("notice.txt", "Dear {{to}}\n");
    let url = sink.url();
    let arguments = ["batch", "--template", "notice", "--server", &url, "-r", "s@x.example", "--report", "run.jsonl"];
    sandbox.run(&arguments).exits(0);
    assert_eq!(who(&sink), WANTED);
    sandbox.run(&["batch", "--server", &url, "-r", "s@x.example", "--body", "x"]).exits(64).says("no table is named");
}
