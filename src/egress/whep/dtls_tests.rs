use super::*;

/// A `ClientHello` of the library's, offering these profiles.
fn hello(profiles: Vec<Profile>) -> Vec<u8> {
    let identity = Arc::new(Identity::generate().unwrap());
    let mut client = Dtls::new(identity, Vec::new(), true);
    let config = client.config(profiles).unwrap();
    client.endpoint.connect(Instant::now(), VIEWER, config, None).unwrap();
    client.poll_transmit().unwrap().to_vec()
}

const GCM: Profile = Profile::Srtp_Aead_Aes_128_Gcm;
const CM: Profile = Profile::Srtp_Aes128_Cm_Hmac_Sha1_80;

#[test]
fn the_profiles_of_a_hello_are_seen_wherever_they_stand() {
    assert_eq!(offers_gcm(&hello(vec![CM, GCM])), Some(true));
    assert_eq!(offers_gcm(&hello(vec![GCM])), Some(true));
    assert_eq!(offers_gcm(&hello(vec![CM])), Some(false));
}

#[test]
fn a_broken_hello_is_no_hello() {
    let good = hello(vec![CM, GCM]);
    for cut in 0..good.len() {
        assert_eq!(offers_gcm(&good[..cut]), None, "{cut}");
    }
    let mut part = good.clone();
    // The fragment's length: less than the message's.
    part[24] = part[24].wrapping_sub(1);
    assert_eq!(offers_gcm(&part), None);
}

/// Lets both sides talk until nothing moves; what each came to.
fn handshake(client: &mut Dtls, server: &mut Dtls) -> [Option<Box<Keys>>; 2] {
    let now = Instant::now();
    client.connect(now).unwrap();
    let mut keys = [None, None];
    for _ in 0..20 {
        while let Some(record) = client.poll_transmit() {
            if let Ok(Outcome::Keys(agreed)) = server.receive(now, record) {
                keys[1] = Some(agreed);
            }
        }
        while let Some(record) = server.poll_transmit() {
            if let Ok(Outcome::Keys(agreed)) = client.receive(now, record) {
                keys[0] = Some(agreed);
            }
        }
    }
    keys
}

fn pair(known: bool) -> (Dtls, Dtls) {
    let [ours, theirs] = [(); 2].map(|()| Arc::new(Identity::generate().unwrap()));
    let prints = |of: &Identity| vec![of.fingerprint.to_lowercase()];
    let expected = if known { prints(&theirs) } else { prints(&ours) };
    let client = Dtls::new(Arc::clone(&theirs), prints(&ours), true);
    (client, Dtls::new(ours, expected, false))
}

#[test]
fn keys_fit_and_rtcp_passes() {
    let (mut client, mut server) = pair(true);
    let [Some(mut client), Some(mut server)] = handshake(&mut client, &mut server) else {
        panic!("no keys")
    };
    assert!(matches!(server.sealer, Sealer::Gcm { .. }), "the faster one of two");
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    let sealed = client.rtcp.ours.encrypt_rtcp(&report).unwrap();
    assert_eq!(server.rtcp.theirs.decrypt_rtcp(&sealed).unwrap()[..], report);
    assert!(server.rtcp.theirs.decrypt_rtcp(&sealed).is_err(), "a replay");
}

#[test]
fn a_certificate_the_offer_does_not_name_gets_no_keys() {
    let (mut client, mut server) = pair(false);
    let [_, server] = handshake(&mut client, &mut server);
    assert!(server.is_none());
}

#[test]
fn goodbye_ends_both_sides() {
    let (mut client, mut server) = pair(true);
    handshake(&mut client, &mut server);
    let now = Instant::now();
    client.close(now).unwrap();
    let goodbye = client.poll_transmit().unwrap();
    assert!(matches!(server.receive(now, goodbye), Ok(Outcome::Closed)));
}
