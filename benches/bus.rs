//! Fan-out: one frame published and read by 1, 100 and 1,000 readers.
//!
//! The promise is that a reader costs a cursor: the time per reader must not
//! grow with their number. Run with `cargo bench --bench bus`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use porthole::bus::{BusMetrics, Join, Limits, SourceState, SourceStatus, Stream};
use porthole::media::{
    ClockRate, Codec, Draft, FrameKind, Jpeg, MediaTime, PixelSize, Track, TrackId, Tracks,
    WallTime,
};

/// A picture of 10 kB, 25 times a second, is 2 Mbit/s.
fn picture(tracks: &Arc<Tracks>, data: &Bytes, number: i64) -> Draft {
    let at = MediaTime::new(number * 3_600, ClockRate::VIDEO);
    Draft {
        track: TrackId(0),
        tracks: Arc::clone(tracks),
        pts: at,
        dts: at,
        wall: WallTime::from_unix_nanos(at.nanos()),
        kind: if number % 25 == 0 { FrameKind::Key } else { FrameKind::Delta },
        lost_before: 0,
        discontinuity: false,
        arrived: Instant::now(),
        data: data.clone(),
    }
}

fn fan_out(c: &mut Criterion) {
    let size = PixelSize { width: 1280, height: 720 };
    let codec = Codec::Jpeg(Jpeg { size });
    let tracks =
        Arc::new(Tracks::new(vec![Track { id: TrackId(0), rate: ClockRate::VIDEO, codec }]));
    let data = Bytes::from(vec![0; 10_000]);

    let mut group = c.benchmark_group("bus_fan_out");
    for readers in [1, 100, 1_000] {
        let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "");
        let name = "bench".parse().expect("a stream name");
        let metrics = BusMetrics::unregistered();
        let (stream, mut publisher) = Stream::new(name, Limits::default(), status, metrics);
        let mut subscriptions: Vec<_> =
            (0..readers).map(|_| stream.subscribe("bench", Join::Live)).collect();
        let mut number = 0;
        group.throughput(Throughput::Elements(readers));
        group.bench_function(BenchmarkId::new("readers", readers), |b| {
            b.iter(|| {
                publisher.publish(picture(&tracks, &data, number));
                number += 1;
                for subscription in &mut subscriptions {
                    black_box(subscription.try_next());
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
