use super::*;

/// Closes a body with version and checksum.
fn payload(body: &[u8], version: u16) -> Vec<u8> {
    let mut payload = body.to_vec();
    payload.extend_from_slice(&version.to_le_bytes());
    payload.extend_from_slice(&crc64(&payload).to_le_bytes());
    payload
}

fn field<'p>(field: &'p [u8], value: &'p [u8], expires_at_ms: Option<u64>) -> HashField<'p> {
    HashField { field: field.into(), value: value.into(), expires_at_ms }
}

#[test]
fn payloads_of_real_servers_are_restored() {
    // DUMP on redis 7.0.15: SET k 10; SET k with 60 times "a" (LZF); HSET h f 1000; HSET h with a field of 80 bytes.
    for (payload, expected) in [
        (&b"\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb"[..], Restored::String(b"10"[..].into())),
        (
            b"\x00\xc3\t<\x01aa\xe0/\x00\x01aa\n\x00\xa6~\x08\xb2\x17\xd0\x97\x80",
            Restored::String(vec![b'a'; 60].into()),
        ),
        (
            b"\x10\r\r\x00\x00\x00\x02\x00\x81f\x02\xc3\xe8\x02\xff\n\x00\x10Z\xa19c.7\xbf",
            Restored::Hash(vec![field(b"f", b"1000", None)]),
        ),
        (
            b"\x04\x01\xc3\n@P\x02aba\xe0B\x01\x01ab\x01v\n\x00+\xd7!\xfd\xba\xc3\x80:",
            Restored::Hash(vec![field(&b"ab".repeat(40), b"v", None)]),
        ),
    ] {
        assert_eq!(restore(payload), Ok(expected), "{payload:?}");
    }
}

#[test]
fn every_type_of_hash_is_read() {
    let at_ms = 4_102_444_800_000_u64;
    let metadata = [&[24][..], &at_ms.to_le_bytes(), b"\x02\x00\x01a\x011\x03\x01b\x012"].concat();
    let triples = listpack::write([&b"a"[..], b"1", b"0", b"b", b"2", b"4102444800002"].into_iter()).unwrap();
    let mut listpack_ex = [&[25][..], &at_ms.to_le_bytes()].concat();
    write_string(&mut listpack_ex, &triples);
    let ziplist = b"\x0d\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf2\xff";
    let expiring = vec![field(b"a", b"1", None), field(b"b", b"2", Some(at_ms + 2))];
    for (body, expected) in [
        (&b"\x04\x01\x01a\xc0\x01"[..], vec![field(b"a", b"1", None)]),
        (ziplist, vec![field(b"a", b"1", None)]),
        (&metadata, expiring.clone()),
        (&listpack_ex, expiring),
    ] {
        assert_eq!(restore(&payload(body, 12)), Ok(Restored::Hash(expected)), "{body:?}");
    }
}

#[test]
fn a_newer_version_and_any_changed_bit_are_refused() {
    let sound = payload(b"\x00\x05hello", 10);
    assert!(restore(&sound).is_ok());
    assert_eq!(restore(&payload(b"\x00\x05hello", 13)), Err(PayloadError::VersionOrChecksum));
    for bit in 0..sound.len() * 8 {
        let mut changed = sound.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(restore(&changed), Err(PayloadError::VersionOrChecksum), "bit {bit}");
    }
    for end in 0..sound.len() {
        assert_eq!(restore(&sound[..end]), Err(PayloadError::VersionOrChecksum), "cut at {end}");
    }
}

#[test]
fn a_sound_payload_with_a_senseless_value_is_refused() {
    for body in [
        &b""[..],
        b"\x00",
        b"\x00\x05hell",
        b"\x00\x05hello!",
        b"\x01\x00",
        b"\xff",
        b"\x04\x00",
        b"\x04\x01\x01a",
        b"\x04\x02\x01a\x011\x01a\x012",
        b"\x04\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x10\x07\x07\0\0\0\0\0\xff",
        b"\x10\x0a\x0a\0\0\0\x01\0\x81a\x02\xff",
        b"\x18\0\0\0\0",
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x01a\x011",
    ] {
        assert_eq!(restore(&payload(body, 10)), Err(PayloadError::Format), "{body:?}");
    }
}

/// A reader that trusted any byte would panic or take all memory here. The seed is fixed; it is in every message.
#[test]
fn random_changes_to_sound_bodies_never_panic() {
    let seed = 0x5eed_u64;
    let mut state = seed;
    let mut number = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 40).unwrap()
    };
    let bodies: [&[u8]; 4] = [
        b"\x00\xc3\x09\x3c\x01aa\xe0\x2f\x00\x01aa",
        b"\x10\x0d\x0d\0\0\0\x02\0\x81f\x02\xc3\xe8\x02\xff",
        b"\x0d\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf2\xff",
        b"\x18\0\0\0\0\0\0\0\0\x02\x00\x01a\x011\x03\x01b\x012",
    ];
    for round in 0..200_000 {
        let mut body = bodies[number() % bodies.len()].to_vec();
        for _ in 0..=number() % 3 {
            let at = number() % body.len();
            body[at] = number().to_le_bytes()[0];
        }
        let restored = read_value(&body);
        if let Ok(Restored::String(string)) = &restored {
            assert!(string.len() <= body.len() * 88 + 11, "seed {seed:#x} round {round}: {body:?}");
        }
    }
}
