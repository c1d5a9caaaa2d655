//! A player that asks for all there is, in every way there is, and keeps the
//! answers.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use reqwest::Client;

use super::recording::{Answer, Playlist};

#[derive(Clone)]
pub(crate) struct Watcher {
    http: Client,
    /// The stream's URL, with a slash.
    base: String,
    began: Instant,
    kept: Arc<Mutex<Vec<Answer>>>,
}

impl Watcher {
    pub(crate) fn new(base: String) -> Self {
        Self { http: Client::new(), base, began: Instant::now(), kept: Arc::default() }
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// All answers, in the order they were complete.
    pub(crate) fn recording(&self) -> Vec<Answer> {
        self.kept.lock().unwrap().clone()
    }

    pub(crate) async fn get(&self, path: &str, query: &str) -> Answer {
        let asked = self.now();
        let url = format!("{}{path}?{query}", self.base);
        let request = self.http.get(url.trim_end_matches('?')).header("accept-encoding", "gzip");
        let response = request.send().await.unwrap();
        let header =
            |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
                (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned())
            };
        let headers: std::collections::BTreeMap<_, _> =
            response.headers().iter().map(header).collect();
        let status = response.status().as_u16();
        let mut body = response.bytes().await.unwrap().to_vec();
        if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
            let packed = std::mem::take(&mut body);
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut body).unwrap();
        }
        let (path, query) = (path.to_owned(), query.to_owned());
        let answered = self.now();
        let answer = Answer { path, query, asked, answered, status, headers, body };
        self.kept.lock().unwrap().push(answer.clone());
        answer
    }

    /// Follows a media playlist for so many seconds.
    pub(crate) async fn follow(self, path: &'static str, seconds: f64) {
        let mut known = BTreeSet::new();
        let mut gone = 0;
        let mut newest = self.get(path, "").await;
        for turn in 1.. {
            let list = Playlist::new(&newest);
            assert_eq!(newest.status, 200, "{path}?{}: {}", newest.query, newest.text());
            let folder = newest.folder().to_owned();
            let at = |uri: &str| format!("{folder}/{uri}");
            let mut objects = Vec::new();
            for segment in &list.segments {
                objects.extend(segment.map);
                let parts = segment.parts.iter().filter(|_| !segment.gap);
                objects.extend(parts.map(|part| part.uri));
                objects.extend(segment.uri.filter(|_| !segment.gap));
            }
            for uri in objects {
                if known.insert(uri.to_owned()) {
                    self.get(&at(uri), "").await;
                }
            }
            // What has left the list, a moment later.
            if std::mem::replace(&mut gone, list.first()) < list.first() && turn > 1 {
                let left = format!("s{}.m4s", list.first() - 1);
                if known.contains(&left) {
                    self.get(&at(&left), "").await;
                    self.get(&at(&left.replace(".m4s", ".0.m4s")), "").await;
                }
            }
            if turn % 6 == 0 {
                self.probe(path, &list).await;
            }
            for (_, hint) in &list.hints {
                if known.insert((*hint).to_owned()) {
                    let (watcher, hint) = (self.clone(), at(hint));
                    tokio::spawn(async move { watcher.get(&hint, "").await });
                }
            }
            if self.now() > seconds {
                return;
            }
            let (next, part) = (list.next(), list.open_parts());
            let query = match turn % 8 {
                3 => String::new(),
                5 => format!("_HLS_msn={next}"),
                7 => format!("_HLS_msn={next}&_HLS_part=99"),
                0 | 2 => format!("_HLS_msn={next}&_HLS_part={part}&_HLS_skip=YES"),
                _ => format!("_HLS_msn={next}&_HLS_part={part}"),
            };
            // Beyond what may be asked for, where parts are few.
            let query = query.replace("_HLS_part=99", &format!("_HLS_part={}", part + 2));
            newest = self.get(path, &query).await;
        }
    }

    /// Asks for what must be refused, and for what is old.
    async fn probe(&self, path: &str, list: &Playlist<'_>) {
        let next = list.next();
        for query in [
            "_HLS_part=0".into(),
            "_HLS_msn=x".into(),
            format!("_HLS_msn={next}&_HLS_part=-1"),
            format!("_HLS_msn={}", next + 5),
            format!("_HLS_msn={}&_HLS_part=0", next.saturating_sub(6)),
            format!("_HLS_msn={}", next.saturating_sub(200)),
        ] {
            self.get(path, &query).await;
        }
        let folder = list.answer.folder();
        self.get(&format!("{folder}/s{}.7.m4s", next + 1), "").await;
        self.get(&format!("{folder}/s{}.m4s", next + 1), "").await;
        if let Some(part) = list.segments.iter().flat_map(|segment| &segment.parts).next() {
            self.get(&format!("{folder}/{}", part.uri), "").await;
        }
        self.get("index.m3u8", "").await;
    }
}
