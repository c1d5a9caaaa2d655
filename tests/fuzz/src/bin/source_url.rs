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
    if let Some(login) = &source.login {
        let password = login.password.expose();
        // One that could not be there by chance, nor part of a path or host.
        let rare = password.len() >= 8 && text.matches(password).count() == 1;
        assert!(!(rare && shown.contains(password)), "{shown:?}");
    }
});
