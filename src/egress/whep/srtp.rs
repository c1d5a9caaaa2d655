//! SRTP as we send it (RFC 3711, RFC 7714): packets are sealed where they lie,
//! in the buffer they are sent from. SRTCP, and all that comes in, is the
//! library's.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rtc::crypto::{
    BlockCipherAlgorithm, CryptoError, HmacAlgorithm, Mac, RTCCrypto, SecretVec, StreamCipher,
    StreamCipherAlgorithm,
};
use rtc::srtp::protection_profile::ProtectionProfile;

/// A packet's index is 48 bits long; after that keys would have to change.
const INDEX_END: u64 = 1 << 48;

/// Labels of the key derivation (RFC 3711 §4.3.2).
const ENCRYPTION: u8 = 0;
const AUTHENTICATION: u8 = 1;
const SALTING: u8 = 2;

/// What seals one viewer's packets.
///
/// A key seals packets of several SSRCs; the caller never gives the same SSRC
/// and index two different contents, since that would use a nonce twice.
#[expect(clippy::large_enum_variant, reason = "the large one is what nearly all viewers have")]
pub(super) enum Sealer {
    /// `AEAD_AES_128_GCM` (RFC 7714 §14.2), with which nearly all viewers are
    /// served. The key lies here, not behind the library's box: every picture
    /// needs it, for every viewer, and by then the cache has lost it.
    Gcm { key: LessSafeKey, salt: [u8; 12] },
    /// `AES_CM_128_HMAC_SHA1_80` (RFC 3711, RFC 5764 §4.1.2).
    Cm { cipher: Box<dyn StreamCipher>, mac: Box<dyn Mac>, salt: [u8; 14] },
}

impl Sealer {
    /// From the master key and salt of our direction. Only the two profiles
    /// above are known.
    pub(super) fn new(
        crypto: &dyn RTCCrypto,
        profile: ProtectionProfile,
        key: &[u8],
        salt: &[u8],
    ) -> Result<Self, CryptoError> {
        let mut encryption = SecretVec::new(vec![0; 16]);
        derive(crypto, ENCRYPTION, key, salt, encryption.as_mut())?;
        let encryption = encryption.as_ref();
        match profile {
            ProtectionProfile::AeadAes128Gcm => {
                let session_key = UnboundKey::new(&AES_128_GCM, encryption)
                    .map_err(|_| CryptoError::AuthenticationFailed)?;
                let mut session_salt = [0; 12];
                derive(crypto, SALTING, key, salt, &mut session_salt)?;
                Ok(Self::Gcm { key: LessSafeKey::new(session_key), salt: session_salt })
            }
            ProtectionProfile::Aes128CmHmacSha1_80 => {
                let cipher =
                    crypto.new_stream_cipher(StreamCipherAlgorithm::Aes128Ctr, encryption)?;
                let mut authentication = SecretVec::new(vec![0; 20]);
                derive(crypto, AUTHENTICATION, key, salt, authentication.as_mut())?;
                let mac = crypto.new_hmac(HmacAlgorithm::Sha1, authentication.as_ref())?;
                let mut session_salt = [0; 14];
                derive(crypto, SALTING, key, salt, &mut session_salt)?;
                Ok(Self::Cm { cipher, mac, salt: session_salt })
            }
            _ => Err(CryptoError::AuthenticationFailed),
        }
    }

    /// Seals the RTP packet that begins at `start` and ends `out`, which grows
    /// by the tag. `index` is its sequence number, counted on over wraps
    /// (RFC 3711 §3.3.1), `header` the length of its header with extensions.
    pub(super) fn seal(
        &mut self,
        ssrc: u32,
        index: u64,
        out: &mut Vec<u8>,
        start: usize,
        header: usize,
    ) -> Result<(), CryptoError> {
        if index >= INDEX_END {
            return Err(CryptoError::AuthenticationFailed);
        }
        match self {
            Self::Gcm { key, salt } => {
                // RFC 7714 §8.1: two zero bytes, SSRC, rollover counter,
                // sequence number; the latter two are the index.
                let mut nonce = *salt;
                xor(&mut nonce[2..6], &ssrc.to_be_bytes());
                xor(&mut nonce[6..], &index.to_be_bytes()[2..]);
                let nonce = Nonce::assume_unique_for_key(nonce);
                let (header, body) = out[start..].split_at_mut(header);
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(&*header), body)
                    .map_err(|_| CryptoError::AuthenticationFailed)?;
                out.extend_from_slice(tag.as_ref());
            }
            Self::Cm { cipher, mac, salt } => {
                // RFC 3711 §4.1.1; the last two bytes count blocks.
                let mut counter = [0; 16];
                counter[..14].copy_from_slice(salt);
                xor(&mut counter[4..8], &ssrc.to_be_bytes());
                xor(&mut counter[8..14], &index.to_be_bytes()[2..]);
                cipher.apply_keystream(&counter, &mut out[start + header..])?;
                // §4.2: over the packet and the rollover counter.
                let rollovers = ((index >> 16) as u32).to_be_bytes();
                let mut tag = [0; 20];
                mac.sign(&[&out[start..], &rollovers], &mut tag)?;
                out.extend_from_slice(&tag[..10]);
            }
        }
        Ok(())
    }
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    bytes.iter_mut().zip(with).for_each(|(byte, with)| *byte ^= with);
}

/// RFC 3711 §4.3.1 and §4.3.3, with a key derivation rate of zero: AES in
/// counter mode, starting from the master salt with the label mixed in.
fn derive(
    crypto: &dyn RTCCrypto,
    label: u8,
    key: &[u8],
    salt: &[u8],
    out: &mut [u8],
) -> Result<(), CryptoError> {
    for (number, part) in (0_u16..).zip(out.chunks_mut(16)) {
        let mut block = [0; 16];
        block[..14].iter_mut().zip(salt).for_each(|(byte, salt)| *byte = *salt);
        block[7] ^= label;
        block[14..].copy_from_slice(&number.to_be_bytes());
        crypto.block_encrypt(BlockCipherAlgorithm::Aes128, key, &mut block)?;
        part.copy_from_slice(&block[..part.len()]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rtc::srtp::context::Context;

    use super::*;
    use crate::rtp::HEADER_BYTES;

    const PROFILES: [ProtectionProfile; 2] =
        [ProtectionProfile::AeadAes128Gcm, ProtectionProfile::Aes128CmHmacSha1_80];

    fn keys(profile: ProtectionProfile) -> (Vec<u8>, Vec<u8>) {
        let key = (1..=16).collect();
        (key, (101..).take(profile.salt_len()).collect())
    }

    fn packet(ssrc: u32, index: u64) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend((index as u16).to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend(ssrc.to_be_bytes());
        packet.extend(index.to_be_bytes().repeat(3));
        packet
    }

    #[test]
    fn keys_are_derived_as_the_rfc_shows() {
        // RFC 3711 appendix B.3.
        let key = 0xe1f9_7a0d_3e01_8be0_d64f_a32c_06de_4139_u128.to_be_bytes();
        let salt = &0x0ec6_75ad_498a_feeb_b696_0b3a_abe6_0000_u128.to_be_bytes()[..14];
        let provider = rtc::crypto::default_provider().unwrap();
        let derived = |label, length| {
            let mut out = vec![0; length];
            derive(provider.crypto(), label, &key, salt, &mut out).unwrap();
            out
        };
        let encryption = 0xc61e_7a93_744f_39ee_1073_4afe_3ff7_a087_u128.to_be_bytes();
        assert_eq!(derived(ENCRYPTION, 16), encryption);
        let salting = &0x30cb_bc08_863d_8c85_d49d_b34a_9ae1_0000_u128.to_be_bytes()[..14];
        assert_eq!(derived(SALTING, 14), salting);
        let authentication = &0xcebe_321f_6ff7_716b_6fd4_ab49_af25_6a15_u128.to_be_bytes();
        assert_eq!(derived(AUTHENTICATION, 20)[..16], *authentication);
    }

    /// What another implementation makes of it, over two wraps of the sequence
    /// number, and of two SSRCs under one key.
    #[test]
    fn a_receiver_opens_every_packet_over_many_wraps() {
        let provider = rtc::crypto::default_provider().unwrap();
        for profile in PROFILES {
            let (key, salt) = keys(profile);
            let mut sealer = Sealer::new(provider.crypto(), profile, &key, &salt).unwrap();
            let mut receiver =
                Context::new(&key, &salt, profile, None, None, provider.crypto()).unwrap();
            for index in (32_000_u64..170_000).step_by(7) {
                for ssrc in [1, 0xffff_ffff] {
                    let plain = packet(ssrc, index);
                    // Behind something else, as in a buffer of many packets.
                    let mut out = vec![0xaa; 5];
                    out.extend_from_slice(&plain);
                    sealer.seal(ssrc, index, &mut out, 5, HEADER_BYTES).unwrap();
                    assert_ne!(out[5 + HEADER_BYTES..5 + plain.len()], plain[HEADER_BYTES..]);
                    let opened = receiver.decrypt_rtp(&out[5..]).unwrap();
                    assert_eq!(opened[..], plain[..], "{profile:?} {index}");
                }
            }
        }
    }

    #[test]
    fn the_last_index_is_never_passed() {
        let provider = rtc::crypto::default_provider().unwrap();
        for profile in PROFILES {
            let (key, salt) = keys(profile);
            let mut sealer = Sealer::new(provider.crypto(), profile, &key, &salt).unwrap();
            assert!(sealer.seal(1, INDEX_END - 1, &mut packet(1, 0), 0, HEADER_BYTES).is_ok());
            assert!(sealer.seal(1, INDEX_END, &mut packet(1, 0), 0, HEADER_BYTES).is_err());
        }
    }
}
