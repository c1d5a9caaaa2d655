//! Who may know whom: reads every `use` of the crate and fails on an arrow
//! that the house does not have.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms, and the rooms each may know.
const ARROWS: &[(&str, &[&str])] = &[
    ("fault", &[]),
    ("secret", &[]),
    ("media", &[]),
    ("memory", &[]),
    ("metrics", &[]),
    ("networks", &[]),
    ("threads", &[]),
    ("rtp", &["media"]),
    ("timeline", &["media"]),
    ("bus", &["media", "fault"]),
    ("fetch", &[]),
    ("traces", &["fetch"]),
    ("auth", &["fault", "fetch", "media", "networks", "secret"]),
    ("cmaf", &["media"]),
    ("http", &["auth", "bus", "fault", "media", "memory", "metrics", "networks", "secret"]),
    (
        "ingest",
        &[
            "bus", "fault", "media", "metrics", "networks", "rtp", "secret", "threads", "timeline",
            "traces",
        ],
    ),
    (
        "egress::whep",
        &["auth", "bus", "fault", "http", "media", "memory", "rtp", "threads", "traces"],
    ),
    ("egress::hls", &["bus", "cmaf", "fault", "http", "media"]),
    ("egress::mjpeg", &["auth", "bus", "fault", "http", "media"]),
    ("egress::mse", &["auth", "bus", "cmaf", "fault", "http", "media"]),
    ("egress::rtsp", &["auth", "bus", "fault", "http", "media", "rtp", "secret"]),
    ("api", &["auth", "bus", "fault", "http", "media"]),
    ("pages", &["bus", "fault", "http"]),
    ("go2rtc", &["fault", "http", "media"]),
    (
        "config",
        &[
            "auth",
            "egress::hls",
            "egress::mjpeg",
            "egress::rtsp",
            "egress::whep",
            "http",
            "ingest",
            "media",
            "pages",
            "networks",
            "secret",
        ],
    ),
    (
        "cli",
        &[
            "api",
            "app",
            "auth",
            "bus",
            "config",
            "egress::rtsp",
            "fault",
            "http",
            "ingest",
            "media",
            "memory",
            "secret",
        ],
    ),
    (
        "app",
        &[
            "api",
            "auth",
            "bus",
            "config",
            "egress::hls",
            "egress::mjpeg",
            "egress::mse",
            "egress::rtsp",
            "egress::whep",
            "fault",
            "go2rtc",
            "http",
            "ingest",
            "media",
            "memory",
            "metrics",
            "pages",
            "traces",
        ],
    ),
];

/// Crates that one room alone may name, or one file; `|` stands between two.
const SOLE_IMPORTERS: &[(&str, &str)] = &[
    ("retina", "ingest/rtsp"),
    ("mp4", "cmaf/"),
    ("m3u8_rs", "egress/hls/"),
    ("openh264", "egress/mjpeg/decode"),
    ("jpeg_encoder", "egress/mjpeg/jpeg.rs"),
    ("zune_jpeg", "egress/mjpeg/jpeg.rs"),
    ("rtc", "egress/whep/"),
    ("quinn_udp", "egress/whep/|ingest/rtsp/udp.rs"),
    ("serde_saphyr", "config/"),
    ("granit_parser", "config/edit/"),
    ("clap", "cli/"),
    ("rust_embed", "pages.rs"),
    ("argon2", "auth/"),
    ("jsonwebtoken", "auth/"),
    ("utoipa", "api/"),
];

/// Rooms without I/O and without a clock, and crates they must not name.
const PURE_ROOMS: &[&str] = &["media/", "timeline.rs", "cmaf/", "fault.rs", "rtp/"];
const IO_CRATES: &[&str] = &["tokio", "axum", "hyper", "tracing", "socket2"];

/// A source file without comments and tests: its path below `src/`, its code.
struct Source {
    path: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        // Tests stand at a file's end, as a module.
        let end = ["\n#[cfg(test)]\nmod ", "\n#[cfg(test)]\n#[path"];
        let end = end.iter().filter_map(|tests| text.find(tests)).min().unwrap_or(text.len());
        let code: Vec<&str> =
            text[..end].lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        Self { path: path.to_owned(), code: code.join("\n") }
    }

    /// Its path as a module, for resolving `super`.
    fn module(&self) -> Vec<String> {
        let mut parts: Vec<String> =
            self.path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if parts.last().is_some_and(|last| last == "mod") {
            parts.pop();
        }
        parts
    }

    /// Places where `word` begins, not as the end of a longer name or path.
    fn places(&self, word: &str) -> impl Iterator<Item = usize> {
        let starts = |at: &usize| !self.code[..*at].ends_with(|c| is_name(c) || c == ':');
        let places: Vec<usize> = self.code.match_indices(word).map(|(at, _)| at).collect();
        places.into_iter().filter(starts)
    }

    /// Every path named from the crate's root, by `crate::` or by `super::`.
    fn named(&self) -> Vec<Vec<String>> {
        let mut named = Vec::new();
        for at in self.places("crate::") {
            named.extend(paths(&self.code[at..]).into_iter().map(|path| path[1..].to_vec()));
        }
        for at in self.places("super::") {
            for path in paths(&self.code[at..]) {
                let mut here = self.module();
                let ups = path.iter().take_while(|part| *part == "super").count();
                here.truncate(here.len().saturating_sub(ups));
                here.extend(path[ups..].iter().cloned());
                named.push(here);
            }
        }
        named
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The room a module path belongs to.
fn room(path: &[String]) -> String {
    match path {
        [egress, output, ..] if egress == "egress" => format!("egress::{output}"),
        [room, ..] => room.clone(),
        [] => String::new(),
    }
}

/// Every path at the start of `code`, braces multiplied out: `a::{b, c::d}`
/// is `a::b` and `a::c::d`.
fn paths(code: &str) -> Vec<Vec<String>> {
    let end = code.find(|c| !is_name(c)).unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    let Some(below) = rest.trim_start().strip_prefix("::") else {
        return vec![vec![name.to_owned()]];
    };
    let below = below.trim_start();
    let tails = match below.strip_prefix('{') {
        Some(group) => group_items(group).into_iter().flat_map(paths).collect(),
        None => paths(below),
    };
    tails.into_iter().map(|tail| [vec![name.to_owned()], tail].concat()).collect()
}

/// The items of a brace group, up to its closing brace.
fn group_items(group: &str) -> Vec<&str> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0, 0);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(group[start..i].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(group[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

/// What is wrong with a file.
fn faults(source: &Source) -> Vec<String> {
    let path = &source.path;
    let room_here = room(&source.module());
    // The crate's root and the list of outputs only declare modules.
    if ["lib", "main", "egress"].contains(&room_here.as_str()) {
        return Vec::new();
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room_here) else {
        return vec![format!("{path}: room `{room_here}` is not on the map")];
    };
    let known: BTreeSet<String> = source.named().iter().map(|path| room(path)).collect();
    let mut faults: Vec<String> = known
        .iter()
        .filter(|known| **known != room_here && !allowed.contains(&known.as_str()))
        .map(|known| format!("{path}: `{room_here}` must not know `{known}`"))
        .collect();

    let names = |krate: &str| {
        source.places(&format!("{krate}::")).next().is_some()
            || [format!("use {krate};"), format!("use {krate} as ")]
                .iter()
                .any(|line| source.code.contains(line.as_str()))
    };
    for (krate, home) in SOLE_IMPORTERS {
        if names(krate) && !home.split('|').any(|home| path.starts_with(home)) {
            faults.push(format!("{path}: only `{home}` may name `{krate}`"));
        }
    }
    if PURE_ROOMS.iter().any(|pure| path.starts_with(pure)) {
        for krate in IO_CRATES.iter().filter(|krate| names(krate)) {
            faults.push(format!("{path}: a room without I/O must not name `{krate}`"));
        }
        if source.code.contains("Instant::now") || source.code.contains("SystemTime::now") {
            faults.push(format!("{path}: time is an argument here"));
        }
    }
    faults
}

fn sources(folder: &Path, root: &Path, found: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, root, found);
            continue;
        }
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(Source::new(&name, &fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_arrow_is_on_the_map() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    sources(&root, &root, &mut all);
    assert!(all.len() > 30, "the walk found only {} files", all.len());
    let wrong: Vec<String> = all.iter().flat_map(faults).collect();
    assert!(wrong.is_empty(), "wrong arrows:\n{}", wrong.join("\n"));
}

#[test]
fn planted_wrong_arrows_are_found() {
    for (path, code) in [
        ("bus/ring.rs", "use crate::ingest::Source;"),
        ("bus/ring.rs", "use crate::{\n    media::Frame,\n    egress::{hls, whep},\n};"),
        ("egress/whep/session.rs", "use crate::egress::hls::Config;"),
        ("egress/whep/mod.rs", "use super::hls::Config;"),
        ("egress/whep/deep/x.rs", "fn f() { super::super::super::hls::go() }"),
        ("media/frame.rs", "use tokio::sync::watch;"),
        ("timeline.rs", "fn now() { std::time::Instant::now(); }"),
        ("ingest/session.rs", "use retina::client::Session;"),
        ("ingest/mod.rs", "fn f(c: &crate::config::Config) {}"),
        ("bus/ring.rs", "\n#[cfg(test)]\nfn f() {}\nuse crate::ingest::Source;"),
        ("bus/mod.rs", "use retina;"),
        ("parlour.rs", ""),
    ] {
        assert!(!faults(&Source::new(path, code)).is_empty(), "not found: {path}: {code}");
    }
}

#[test]
fn right_arrows_comments_and_tests_are_left_alone() {
    for (path, code) in [
        ("bus/ring.rs", "use crate::media::{Draft, Frame};\n// crate::ingest is not here"),
        ("bus/ring.rs", "\n#[cfg(test)]\nmod tests { use crate::ingest::Source; }"),
        ("egress/whep/session.rs", "use super::engine::Engine;\nuse crate::bus::Stream;"),
        ("ingest/rtsp.rs", "use retina::client::Session;"),
    ] {
        assert_eq!(faults(&Source::new(path, code)), Vec::<String>::new(), "{path}");
    }
}
