//! Two SHA-256 streams interleaved, by the SHA extensions of x86-64 (FIPS 180-4 §6.2; Intel SDM, `SHA256RNDS2`).
//!
//! `SHA256RNDS2` does two rounds, and the next one of the same stream waits about four cycles for it, while another
//! stream could start one every two. Two streams fill the gap; three and four need more registers than there are, and
//! were slower when measured (a node on an EPYC with `examples/rate.rs`: 120 ns by `sha2`, 43 by two, 49 by three or
//! four).

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_cvtsi128_si64, _mm_extract_epi64, _mm_set_epi32,
    _mm_set_epi64x, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32,
};

use glasslog_core::{Hash, hash::BatchHasher};

const BLOCK: usize = 64;

/// A hasher that exists only where the processor has the SHA extensions.
#[derive(Debug)]
pub(crate) struct ShaNi {
    _detected: (),
}

impl ShaNi {
    /// The hasher, if this processor has what it needs.
    pub(crate) fn detect() -> Option<ShaNi> {
        let detected = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("sse4.1")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse2");
        detected.then_some(ShaNi { _detected: () })
    }
}

impl BatchHasher for ShaNi {
    fn tagged(&self, tag: u8, messages: &[&[u8]], out: &mut [Hash]) {
        // SAFETY: `self` exists, so `detect` has found the features that the function is compiled for.
        unsafe { tagged(tag, messages, out) }
    }

    fn nodes(&self, children: &[Hash], out: &mut [Hash]) {
        // SAFETY: as above.
        unsafe { nodes(children, out) }
    }
}

/// A message block as 16 words, and a state as the two registers that `SHA256RNDS2` wants: (A, B, E, F), (C, D, G, H).
type Block = [__m128i; 4];
#[derive(Clone, Copy)]
struct State(__m128i, __m128i);

#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn nodes(children: &[Hash], out: &mut [Hash]) {
    let (pairs, _) = children.as_chunks::<2>();
    let count = pairs.len().min(out.len());
    let (pairs_by_two, last_pair) = pairs[..count].as_chunks::<2>();
    let (out_by_two, last_out) = out[..count].as_chunks_mut::<2>();
    for (pairs, out) in pairs_by_two.iter().zip(out_by_two) {
        *out = nodes_of(pairs);
    }
    for (pair, out) in last_pair.iter().zip(last_out) {
        [*out] = nodes_of(&[*pair]);
    }
}

/// `SHA-256(0x01 ‖ left ‖ right)` of `N` pairs at once: 65 bytes, so two blocks.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn nodes_of<const N: usize>(pairs: &[[Hash; 2]; N]) -> [Hash; N] {
    let mut states = [initial_state(); N];
    compress(&mut states, pairs.map(|[left, right]| first_node_block(&left, &right)));
    compress(&mut states, pairs.map(|[_, right]| second_node_block(&right)));
    states.map(|state| digest(state))
}

/// `0x01 ‖ left ‖ right` without the last byte of `right`.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn first_node_block(left: &Hash, right: &Hash) -> Block {
    let mut bytes = [0; BLOCK];
    bytes[0] = 1;
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0[..31]);
    load(&bytes)
}

/// The last byte of `right`, the padding, and the length of 65 bytes in bits.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn second_node_block(right: &Hash) -> Block {
    let zero = _mm_set_epi32(0, 0, 0, 0);
    let first_word = i32::from_be_bytes([right.0[31], 0x80, 0, 0]);
    [_mm_set_epi32(0, 0, 0, first_word), zero, zero, _mm_set_epi32(65 * 8, 0, 0, 0)]
}

/// Keeps two messages at work, whatever their lengths: where one ends the next one takes its place.
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn tagged(tag: u8, messages: &[&[u8]], out: &mut [Hash]) {
    let mut waiting = messages.iter().zip(out).map(|(message, out)| Tagged::new(tag, message, out));
    let mut one = waiting.next();
    let mut other = waiting.next();
    while let (Some(a), Some(b)) = (&mut one, &mut other) {
        let mut states = [a.state, b.state];
        for _ in 0..a.blocks_left().min(b.blocks_left()) {
            compress(&mut states, [a.next_block(), b.next_block()]);
        }
        [a.state, b.state] = states;
        if a.is_done() {
            *a.out = digest(a.state);
            one = waiting.next();
        }
        if b.is_done() {
            *b.out = digest(b.state);
            other = waiting.next();
        }
    }
    if let Some(last) = one.or(other) {
        last.finish();
    }
}

/// A message on its way: `SHA-256(tag ‖ message)`.
struct Tagged<'a> {
    tag: u8,
    message: &'a [u8],
    out: &'a mut Hash,
    state: State,
    next: usize,
    blocks: usize,
}

impl<'a> Tagged<'a> {
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
    fn new(tag: u8, message: &'a [u8], out: &'a mut Hash) -> Tagged<'a> {
        // The tag, 0x80 and the length in 8 bytes come on top.
        let blocks = (message.len() + 1 + 1 + 8).div_ceil(BLOCK);
        Tagged { tag, message, out, state: initial_state(), next: 0, blocks }
    }

    fn blocks_left(&self) -> usize {
        self.blocks - self.next
    }

    fn is_done(&self) -> bool {
        self.next == self.blocks
    }

    #[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
    fn finish(mut self) {
        let mut states = [self.state];
        for _ in 0..self.blocks_left() {
            compress(&mut states, [self.next_block()]);
        }
        *self.out = digest(states[0]);
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
    fn next_block(&mut self) -> Block {
        // Because of the tag, block n begins with byte 64 n − 1 of the message.
        let start = (self.next * BLOCK).wrapping_sub(1);
        let whole = self.message.get(start..).and_then(|rest| rest.first_chunk::<BLOCK>());
        let block = match whole {
            Some(bytes) => load(bytes),
            None => load(&self.padded_block()),
        };
        self.next += 1;
        block
    }

    /// A block that does not lie within the message: the first, and the last one or two.
    fn padded_block(&self) -> [u8; BLOCK] {
        let mut bytes = [0; BLOCK];
        if self.next == 0 {
            bytes[0] = self.tag;
        }
        let (body, taken) = match self.next {
            0 => (&mut bytes[1..], 0),
            n => (&mut bytes[..], n * BLOCK - 1),
        };
        let rest = self.message.get(taken..).unwrap_or_default();
        let here = rest.len().min(body.len());
        body[..here].copy_from_slice(&rest[..here]);
        if let (Some(end), true) = (body.get_mut(here), taken <= self.message.len()) {
            *end = 0x80;
        }
        if self.next + 1 == self.blocks {
            let bits = (self.message.len() as u64 + 1) * 8;
            bytes[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
        }
        bytes
    }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn load(bytes: &[u8; BLOCK]) -> Block {
    // Words are big-endian in the message and little-endian in the register.
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let (quarters, _) = bytes.as_chunks::<16>();
    core::array::from_fn(|i| {
        let [low, high] = [0, 8].map(|at| {
            let mut half = [0; 8];
            half.copy_from_slice(&quarters[i][at..at + 8]);
            i64::from_le_bytes(half)
        });
        _mm_shuffle_epi8(_mm_set_epi64x(high, low), swap)
    })
}

/// One block into each state. The steps are spelt out so that states and words stay in registers.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn compress<const N: usize>(states: &mut [State; N], mut words: [Block; N]) {
    let before = *states;
    four_rounds::<0, N>(states, &mut words);
    four_rounds::<1, N>(states, &mut words);
    four_rounds::<2, N>(states, &mut words);
    four_rounds::<3, N>(states, &mut words);
    four_rounds::<4, N>(states, &mut words);
    four_rounds::<5, N>(states, &mut words);
    four_rounds::<6, N>(states, &mut words);
    four_rounds::<7, N>(states, &mut words);
    four_rounds::<8, N>(states, &mut words);
    four_rounds::<9, N>(states, &mut words);
    four_rounds::<10, N>(states, &mut words);
    four_rounds::<11, N>(states, &mut words);
    four_rounds::<12, N>(states, &mut words);
    four_rounds::<13, N>(states, &mut words);
    four_rounds::<14, N>(states, &mut words);
    four_rounds::<15, N>(states, &mut words);
    for (state, before) in states.iter_mut().zip(before) {
        *state = State(_mm_add_epi32(state.0, before.0), _mm_add_epi32(state.1, before.1));
    }
}

/// Rounds 4 · `STEP` to 4 · `STEP` + 3 of each stream, one stream after the other.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn four_rounds<const STEP: usize, const N: usize>(states: &mut [State; N], words: &mut [Block; N]) {
    let [k0, k1, k2, k3] = K[STEP].map(u32::cast_signed);
    let k = _mm_set_epi32(k3, k2, k1, k0);
    for (State(abef, cdgh), words) in states.iter_mut().zip(words) {
        if STEP >= 4 {
            words[STEP % 4] = next_words::<STEP>(words);
        }
        let words_and_k = _mm_add_epi32(words[STEP % 4], k);
        // The new A, B, E and F take the place of the old C, D, G and H, and the old ones are what those become.
        *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, words_and_k);
        *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32::<0x0e>(words_and_k));
    }
}

/// W(t) to W(t+3) from the 16 words before them, in a ring (FIPS 180-4 §6.2.2, step 1).
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn next_words<const STEP: usize>(words: &Block) -> __m128i {
    let [w0, w1, w2, w3] =
        [words[STEP % 4], words[(STEP + 1) % 4], words[(STEP + 2) % 4], words[(STEP + 3) % 4]];
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
    _mm_sha256msg2_epu32(sum, w3)
}

/// FIPS 180-4 §5.3.3.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn initial_state() -> State {
    let [a, b, c, d, e, f, g, h] = H0.map(u32::cast_signed);
    State(_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h))
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn digest(State(abef, cdgh): State) -> Hash {
    let halves = [
        _mm_extract_epi64::<1>(abef),
        _mm_extract_epi64::<1>(cdgh),
        _mm_cvtsi128_si64(abef),
        _mm_cvtsi128_si64(cdgh),
    ];
    let mut bytes = [0; Hash::LEN];
    for (out, half) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(halves) {
        *out = half.to_be_bytes();
    }
    Hash(bytes)
}

/// FIPS 180-4 §5.3.3.
const H0: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// FIPS 180-4 §4.2.2.
const K: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];
