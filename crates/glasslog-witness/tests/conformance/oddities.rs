//! Signatures that a careless verifier takes for good.

use curve25519_dalek::{EdwardsPoint, Scalar, constants::EIGHT_TORSION, traits::Identity};
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha512};

use crate::keys::MlDsaKey;

type Forge = fn(&SigningKey, &[u8]) -> Vec<u8>;

/// None of these may verify (RFC 8032 section 5.1.7, without the cofactor as Go has it).
pub(crate) const ED25519: &[(&str, Forge)] = &[
    ("S + L", s_plus_order),
    ("R with a component of order 8", |key, text| {
        let r = Scalar::from(987_654_321_u64);
        with_r(key, text, &(EdwardsPoint::mul_base(&r) + EIGHT_TORSION[1]).compress().to_bytes(), &r)
    }),
    ("R with a component of order 2", |key, text| {
        let r = Scalar::from(987_654_321_u64);
        with_r(key, text, &(EdwardsPoint::mul_base(&r) + EIGHT_TORSION[4]).compress().to_bytes(), &r)
    }),
    ("R of order 8", |key, text| with_r(key, text, &EIGHT_TORSION[1].compress().to_bytes(), &Scalar::ZERO)),
    ("R is the identity, its y not reduced", |key, text| {
        // p + 1
        let mut r = [0xff; 32];
        (r[0], r[31]) = (0xee, 0x7f);
        with_r(key, text, &r, &Scalar::ZERO)
    }),
    ("R is the identity with the sign of x set", |key, text| {
        let mut r = [0; 32];
        (r[0], r[31]) = (1, 0x80);
        with_r(key, text, &r, &Scalar::ZERO)
    }),
];

/// A signature with the nonce 0. It does verify by RFC 8032.
pub(crate) fn identity_r(key: &SigningKey, text: &[u8]) -> Vec<u8> {
    with_r(key, text, &EdwardsPoint::identity().compress().to_bytes(), &Scalar::ZERO)
}

/// R as given, and the S that fits the nonce.
fn with_r(key: &SigningKey, text: &[u8], r_bytes: &[u8; 32], nonce: &Scalar) -> Vec<u8> {
    let hash = Sha512::new()
        .chain_update(r_bytes)
        .chain_update(key.verifying_key().as_bytes())
        .chain_update(text)
        .finalize();
    let k = Scalar::from_bytes_mod_order_wide(&hash.into());
    let s = nonce + k * key.to_scalar();
    [&r_bytes[..], &s.to_bytes()].concat()
}

/// 2^252 + 27742317777372353535851937790883648493, the least byte first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn s_plus_order(key: &SigningKey, text: &[u8]) -> Vec<u8> {
    let mut signature = key.sign(text).to_bytes().to_vec();
    let mut carry = 0_u16;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        let [low, high] = sum.to_le_bytes();
        (*byte, carry) = (low, u16::from(high));
    }
    signature
}

type Spoil = fn(&MlDsaKey, &[u8]) -> Vec<u8>;

/// None of these may verify (FIPS 204 algorithms 3, 5 and 27).
pub(crate) const ML_DSA: &[(&str, Spoil)] = &[
    ("2419 bytes", |key, message| key.sign(message)[..2419].to_vec()),
    ("2421 bytes", |key, message| [&key.sign(message)[..], &[0]].concat()),
    ("no bytes", |_, _| Vec::new()),
    ("one bit of it changed", |key, message| {
        let mut signature = key.sign(message);
        signature[1000] ^= 1;
        signature
    }),
    ("a hint given twice", |key, message| repeated_hint(&key.sign(message))),
    ("a byte after the hints that is not zero", |key, message| {
        let mut signature = key.sign(message);
        let used = usize::from(signature[2419]);
        assert!(used < 80, "a signature with room after its hints");
        signature[2336 + 79] = 1;
        signature
    }),
    ("a context", |key, message| key.sign_internal(&[&[0, 7], &b"context"[..], message].concat())),
    ("HashML-DSA with SHA-512", |key, message| {
        let oid = [0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];
        key.sign_internal(&[&[1, 0], &oid[..], &Sha512::digest(message)].concat())
    }),
    ("the internal interface, without a domain", |key, message| key.sign_internal(message)),
];

/// The hints are 80 indices, ascending for each polynomial, and four counts so far. A verifier that does not
/// demand *strictly* ascending ones sets a hint twice and goes on.
fn repeated_hint(signature: &[u8]) -> Vec<u8> {
    let mut spoiled = signature.to_vec();
    let (indices, counts) = spoiled[2336..].split_at_mut(80);
    let used = usize::from(counts[3]);
    assert!(0 < used && used < 80, "a signature with hints, and room for one more");
    let first = counts.iter().position(|count| *count > 0).unwrap_or_default();
    indices.copy_within(0..used, 1);
    for count in &mut counts[first..] {
        *count += 1;
    }
    spoiled
}
