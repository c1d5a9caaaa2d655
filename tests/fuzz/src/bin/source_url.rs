//! Camera URLs, as users, configurations and the API give them: what is
//! accepted is an RTSP URL with a host, and never shows its password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::ingest::Source;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(source) = text.parse::<Source>() else { return };
    let url = source.url();
    assert!(matches!(url.scheme(), "rtsp" | "rtsps") && url.host_str().is_some());
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    let shown = source.to_string();
    assert!(!shown.contains(|c: char| c.is_control()), "{shown:?}");
    // Another password in its place shows the same.
    let Some(login) = &source.login else { return };
    let other = "another one";
    let changed = text.replacen(&format!(":{}@", login.password.expose()), &format!(":{other}@"), 1);
    let Ok(changed) = changed.parse::<Source>() else { return };
    if changed.login.as_ref().is_some_and(|login| login.password.expose() == other) {
        assert_eq!(changed.to_string(), shown);
    }
});
