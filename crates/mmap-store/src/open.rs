//! Taking over the segments of an earlier process: what can be read is mapped, and what is wrong with it is told.

use std::sync::Arc;

use crate::error::{Damage, DamageKind, OpenError};
use crate::format::{BadHeader, DEDICATED_BYTES_MAX, PAGE_BYTES, SegmentHeader};
use crate::memory::Memory;
use crate::segment::{Found, Segment};
use crate::space::SegmentSpace;

/// Maps every segment of the space.
///
/// A damaged header costs no record: the index says where records are, and each has its own CRC. So the segment is taken over with the
/// capacity that its file has; the header is written anew when the segment is begun again.
pub(crate) fn take_over(space: &dyn SegmentSpace) -> Result<(Vec<Arc<Segment>>, Vec<Damage>), OpenError> {
    let (mut segments, mut damages) = (Vec::new(), Vec::new());
    for (id, found_bytes) in space.list()? {
        let mut report = |kind| damages.push(Damage { segment: id, kind });
        let mapped_bytes = u32::try_from(found_bytes).unwrap_or(u32::MAX).min(DEDICATED_BYTES_MAX);
        let mapped_bytes = mapped_bytes / PAGE_BYTES * PAGE_BYTES;
        if mapped_bytes == 0 {
            // Cut short: a segment has this name only once it is allocated. Its id is wanted.
            report(DamageKind::Empty { found_bytes });
            space.remove(id)?;
            continue;
        }
        let mut region = space.open(id, mapped_bytes)?;
        let mut found = Found { generation: 0, class: 0, dedicated: false, readable_bytes: mapped_bytes };
        match SegmentHeader::decode(&Memory::header(&mut region)) {
            Ok(header) => {
                if header.id != u32::from(id) {
                    report(DamageKind::Misplaced { found: header.id });
                }
                let declared_bytes = header.capacity;
                if found_bytes < declared_bytes {
                    report(DamageKind::Short { declared_bytes, found_bytes });
                } else if found_bytes > declared_bytes {
                    report(DamageKind::Long { declared_bytes, found_bytes });
                    found.readable_bytes = u32::try_from(declared_bytes).unwrap_or(mapped_bytes).min(mapped_bytes);
                }
                (found.generation, found.class, found.dedicated) = (header.generation, header.class, header.dedicated);
            }
            Err(BadHeader::Version(found)) => return Err(OpenError::Version { segment: id, found }),
            Err(BadHeader::Damaged) => {
                // Allocated and never begun: ordinary after a crash. A header of zeros by damage costs nothing either.
                if Memory::header(&mut region) != [0; _] {
                    report(DamageKind::Header);
                }
                if found_bytes > u64::from(DEDICATED_BYTES_MAX) {
                    report(DamageKind::Long { declared_bytes: u64::from(DEDICATED_BYTES_MAX), found_bytes });
                }
            }
        }
        segments.push(Segment::recovered(id, &found, region));
    }
    Ok((segments, damages))
}
