//! Texts before and after, and what must not change on the way.

use proptest::prelude::*;

use super::*;
use crate::config::fault::Origin;

fn read(text: &str) -> Node {
    parse(&Arc::new(PathBuf::from("x.yaml")), text).unwrap_or_else(|f| panic!("{f}\n{text}"))
}

fn node(value: Value) -> Node {
    Node { origin: Origin::Flag("test".into()), value }
}

/// `root` with `streams.name` as `yaml` says, or without it.
fn with(root: &Node, name: &str, yaml: Option<&str>) -> Node {
    let key = |text: &str| Key { origin: Origin::Flag("test".into()), text: text.into() };
    let Value::Map(mut sections) = root.value.clone() else { panic!() };
    if !sections.iter().any(|(key, _)| key.text == "streams") {
        sections.push((key("streams"), node(Value::Null)));
    }
    for (section, streams) in &mut sections {
        if section.text == "streams" {
            let mut entries = match &streams.value {
                Value::Map(entries) => entries.clone(),
                _ => Vec::new(),
            };
            let at = entries.iter().position(|(key, _)| key.text == name);
            match (at, yaml.map(|yaml| node(read(yaml).value))) {
                (Some(at), Some(node)) => entries[at].1 = node,
                (None, Some(node)) => entries.push((key(name), node)),
                (Some(at), None) => drop(entries.remove(at)),
                (None, None) => {}
            }
            streams.value = Value::Map(entries);
        }
    }
    node(Value::Map(sections))
}

fn edited(text: &str, name: &str, yaml: Option<&str>) -> Result<String, Unsure> {
    let old = read(text);
    edit(text, &old, &with(&old, name, yaml))
}

#[track_caller]
fn becomes(text: &str, name: &str, yaml: Option<&str>, wanted: &str) {
    let got = edited(text, name, yaml).unwrap_or_else(|why| panic!("{why}:\n{text}"));
    assert!(got == wanted, "got:\n{got}\nwanted:\n{wanted}");
}

#[test]
fn a_stream_is_added_where_streams_are_and_as_they_are() {
    let new = Some("source: rtsp://10.0.0.7/x");
    let lines = "    source: rtsp://10.0.0.7/x\n";
    becomes("", "new", new, &format!("streams:\n  new:\n{lines}"));
    becomes("# mine\n", "new", new, &format!("# mine\nstreams:\n  new:\n{lines}"));
    becomes("listen: :80", "new", new, &format!("listen: :80\nstreams:\n  new:\n{lines}"));
    becomes(
        "streams: # all\n# none yet\n\nhls: { part: 1s }\n",
        "new",
        new,
        &format!("streams: # all\n  new:\n{lines}# none yet\n\nhls: {{ part: 1s }}\n"),
    );
    becomes(
        "streams:\n    one: rtsp://a # first\n\n# behind\nhls: {}\n",
        "new",
        new,
        "streams:\n    one: rtsp://a # first\n    new:\n      source: rtsp://10.0.0.7/x\n\n# behind\nhls: {}\n",
    );
    becomes("streams: {}\nhls: {}\n", "new", new, &format!("streams:\n  new:\n{lines}hls: {{}}\n"));
    becomes(
        "streams: { one: \"rtsp://a\" } # both\n",
        "new",
        new,
        "streams: { one: \"rtsp://a\", new: { source: rtsp://10.0.0.7/x } } # both\n",
    );
    becomes(
        "streams:\r\n  one: rtsp://a\r\n",
        "new",
        Some("source: \"a b\""),
        "streams:\r\n  one: rtsp://a\r\n  new:\r\n    source: \"a b\"\r\n",
    );
}

#[test]
fn a_stream_is_removed_with_its_own_lines_and_no_others() {
    becomes(
        "streams:\n  # the first\n  one: rtsp://a # a\n  two: # b\n    source: rtsp://b\n    # deep\n    on_demand: true\n\n  three: rtsp://c\n",
        "two",
        None,
        "streams:\n  # the first\n  one: rtsp://a # a\n\n  three: rtsp://c\n",
    );
    becomes("streams:\n  one: rtsp://a\nhls: {}\n", "one", None, "streams:\nhls: {}\n");
    becomes("streams: { a: x, b: y, c: z }\n", "b", None, "streams: { a: x, c: z }\n");
    becomes("streams: { a: x, b: y }\n", "b", None, "streams: { a: x }\n");
    becomes("streams: { a: x }\n", "a", None, "streams: {  }\n");
    becomes(
        "streams: { a: { source: x, tls: { verify: false }, password: A } }\n",
        "a",
        Some("source: z\ntransport: tcp"),
        "streams: { a: { source: z, transport: tcp } }\n",
    );
    becomes(
        "streams: {\n  a: x, # 1\n  b: y, # 2\n}\n",
        "a",
        None,
        "streams: {\n  # 1\n  b: y, # 2\n}\n",
    );
}

#[test]
fn a_change_touches_the_lines_that_it_concerns() {
    let text = "streams:\n  yard: # home\n    source: \"rtsp://${HOST}/a\" # main\n    # why\n    transport: tcp  # cheap\n    tls: { fingerprint: x }\n";
    let same = "source: \"rtsp://${HOST}/a\"\n";
    becomes(
        text,
        "yard",
        Some(&format!("{same}transport: udp\ntls: {{ fingerprint: x }}\n")),
        &text.replace("tcp  #", "udp  #"),
    );
    becomes(
        text,
        "yard",
        Some(&format!("{same}tls: {{ verify: false }}\non_demand: true\n")),
        &text
            .replace("    transport: tcp  # cheap\n", "")
            .replace("{ fingerprint: x }\n", "{ verify: \"false\" }\n    on_demand: \"true\"\n")
            .replace("\"false\"", "false")
            .replace("\"true\"", "true"),
    );
    // The short form grows, and keeps its quotes and its comment.
    becomes(
        "streams:\n  a: 'rtsp://a/b?c=1' # mine\n  b: rtsp://b\n",
        "a",
        Some("source: rtsp://a/b?c=1\ntransport: udp\n"),
        "streams:\n  a: # mine\n    source: 'rtsp://a/b?c=1'\n    transport: udp\n  b: rtsp://b\n",
    );
    becomes(
        "streams: { a: \"rtsp://a\", b: rtsp://b }\n",
        "a",
        Some("{ source: rtsp://a, transport: udp }"),
        "streams: { a: { source: rtsp://a, transport: udp }, b: rtsp://b }\n",
    );
}

#[test]
fn what_no_edit_is_sure_to_keep_is_left_alone() {
    // The anchor's text is the other's, too.
    let text = "streams:\n  a: &a\n    source: rtsp://a\n  b: *a\n";
    assert_eq!(edited(text, "a", None), Err(Unsure));
    assert_eq!(edited(text, "a", Some("source: rtsp://z")), Err(Unsure));
    becomes(text, "b", None, "streams:\n  a: &a\n    source: rtsp://a\n");
    becomes(
        text,
        "b",
        Some("source: rtsp://b"),
        "streams:\n  a: &a\n    source: rtsp://a\n  b:\n    source: rtsp://b\n",
    );
}

#[test]
fn text_is_quoted_wherever_it_could_be_read_otherwise() {
    for text in [
        "",
        " ",
        "null",
        "~",
        "Null",
        "yes",
        "0x10",
        "1e3",
        "- a",
        "a: b",
        "a #b",
        "#",
        "a:",
        "{",
        "[x",
        "*a",
        "&a",
        "!t",
        "%d",
        "@x",
        "`x",
        "|",
        ">",
        "'",
        "\"",
        "\\",
        "a\nb",
        "a\tb",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}x",
        "ß€😀",
        "rtsp://a/b?c=d&e=%20",
        "a,b",
        "---",
        "...",
        "=",
        "<<",
    ] {
        let value = node(Value::Map(vec![(
            Key { origin: Origin::Flag("t".into()), text: "k".into() },
            Node::scalar(Origin::Flag("t".into()), text),
        )]));
        let Value::Map(entries) = &value.value else { panic!() };
        for yaml in
            [write::lines(entries, "", "\n"), format!("x: {}\n", write::inline(&value.value))]
        {
            let back = read(&yaml);
            let Value::Map(found) = &back.value else { panic!() };
            let found = find(found, "x").map_or(&back.value, |node| &node.value);
            assert!(same(found, &value.value), "{text:?}: {yaml}");
        }
    }
}

/// A configuration as people write them.
fn files() -> impl Strategy<Value = String> {
    let comment = prop_oneof![
        3 => Just(String::new()),
        1 => "[a-z '\":{}#,-]{0,12}".prop_map(|text| format!(" # {text}")),
    ];
    let lone = prop_oneof![
        3 => Just(String::new()),
        1 => "[a-z ':{}]{0,12}".prop_map(|text| format!("# {text}\n")),
        1 => Just("\n".to_owned()),
    ];
    let url = prop_oneof![
        "[a-z]{1,5}".prop_map(|host| format!("rtsp://{host}/x")),
        "[a-z]{1,5}".prop_map(|host| format!("\"rtsp://{host}:554/x?a=1\"")),
        "[a-z]{1,5}".prop_map(|host| format!("'rtsp://u:${{PW}}@{host}'")),
    ];
    let short = (url.clone(), comment.clone()).prop_map(|(url, c)| format!(" {url}{c}\n"));
    let flow = (url.clone(), comment.clone())
        .prop_map(|(url, c)| format!(" {{ source: {url}, tls: {{ verify: true }} }}{c}\n"));
    let long = (url, comment.clone(), lone.clone(), comment.clone(), any::<bool>()).prop_map(
        |(url, above, between, behind, tls)| {
            let tls = if tls { "    tls: # t\n      verify: true\n" } else { "" };
            format!(
                "{above}\n    source: {url}{behind}\n{between}    on_demand: true{behind}\n{tls}"
            )
        },
    );
    let stream = prop_oneof![short, flow, long];
    let streams = prop::collection::vec((lone.clone(), stream), 0..5);
    (lone.clone(), comment, streams, lone.clone(), lone, any::<bool>(), any::<bool>()).prop_map(
        |(before, c, streams, between, after, ends, windows)| {
            let mut text = format!("{before}listen: :1{c}\n{between}streams:{c}\n");
            for (i, (lone, stream)) in streams.into_iter().enumerate() {
                text.push_str(&format!("{lone}  s{i}:{stream}"));
            }
            text.push_str(&format!("{after}hls: {{ part: 1s }}{c}"));
            if ends {
                text.push('\n');
            }
            if windows { text.replace('\n', "\r\n") } else { text }
        },
    )
}

fn edits() -> impl Strategy<Value = Vec<(String, Option<String>)>> {
    let name = "s[0-6]";
    let text = "[ -~]{1,8}".prop_map(|text| write::scalar(&text));
    let entry = (text.clone(), prop::option::of(text), prop::option::of("tcp|udp"), any::<bool>());
    let entry = entry.prop_map(|(source, password, transport, tls)| {
        let mut yaml = format!("source: {source}\n");
        for (key, value) in [("password", password), ("transport", transport)] {
            yaml.extend(value.map(|value| format!("{key}: {value}\n")));
        }
        if tls {
            yaml.push_str("tls: { verify: false }\n");
        }
        yaml
    });
    prop::collection::vec((name, prop::option::weighted(0.7, entry)), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is done to one stream, the lines of all others, their comments
    /// and the file's own stay, byte for byte and in their order; and the text
    /// says what was wanted.
    #[test]
    fn every_edit_keeps_all_other_lines(file in files(), edits in edits()) {
        let mut text = file;
        for (name, entry) in edits {
            let old = read(&text);
            let new = with(&old, &name, entry.as_deref());
            let next = edit(&text, &old, &new).unwrap_or_else(|why| panic!("{why}\n{text}"));
            prop_assert!(same(&read(&next).value, &new.value), "{}\n{}", text, next);

            // The stream's own lines: from its key to its last value.
            let own = |text: &str| -> Range<usize> {
                let Some(Piece { kind: Kind::Map(root), .. }) = layout(text) else { return 0..0 };
                let streams = root.entries.iter().find(|entry| entry.text == "streams");
                let Some(Entry { value: Piece { kind: Kind::Map(map), .. }, .. }) = streams else {
                    return 0..0;
                };
                let own = map.entries.iter().find(|entry| entry.text == name);
                own.map_or(0..0, |own| own.key.start..own.value.span.end)
            };
            let lines = |text: &str| -> (Vec<String>, Vec<String>) {
                let (own, mut at) = (own(text), 0);
                text.split_inclusive('\n').map(|line| line.to_owned()).partition(|line| {
                    let span = at..at + line.len();
                    at = span.end;
                    !own.is_empty() && span.end > own.start && span.start < own.end
                })
            };
            let ((own, before), (_, after)) = (lines(&text), lines(&next));
            // A comment among lines that are gone stays, too.
            let mut left = before.iter().map(|line| line.trim_end()).peekable();
            for line in &after {
                if left.peek() == Some(&line.trim_end()) {
                    left.next();
                } else {
                    prop_assert!(own.contains(line), "{line} is new:\n{}\n{}", text, next);
                    let is_comment = line.trim().is_empty() || line.trim().starts_with('#');
                    prop_assert!(is_comment, "{line}:\n{}\n{}", text, next);
                }
            }
            prop_assert_eq!(left.next(), None, "\n{}\nbecame\n{}", text, next);
            text = next;
        }
    }
}
