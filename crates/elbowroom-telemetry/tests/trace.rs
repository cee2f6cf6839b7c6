//! Traces of recorded faults, read as a viewer reads them.

use elbowroom::fault::Recorder;
use elbowroom::{Growth, Region, RegionBuilder, page_size};
use elbowroom_telemetry::TraceWriter;

fn page(count: usize) -> usize {
    count * page_size()
}

fn builder(name: &str) -> RegionBuilder {
    Region::builder(page(8)).growth(Growth::Pages(1)).name(name)
}

#[test]
fn a_trace_is_json_with_a_group_for_each_region() {
    let recorder = Recorder::start(100).unwrap();
    let (named, nameless) = (
        builder("a \"name\" \\ \n")
            .commit_limit(page(2))
            .build()
            .unwrap(),
        builder("").build().unwrap(),
    );
    named.try_fill(0..page(2), 1).unwrap();
    nameless.try_write(page(7), 1u8).unwrap();
    named.try_read::<u8>(page(5)).unwrap_err();
    let ours = [&named, &nameless].map(|region| region.as_ptr().addr());
    let mut trace = TraceWriter::new(Vec::new()).unwrap();
    for event in recorder
        .events()
        .filter(|event| ours.contains(&event.region))
    {
        trace.add(&event).unwrap();
    }
    let json: serde_json::Value = serde_json::from_slice(&trace.finish().unwrap()).unwrap();
    let events = json["traceEvents"].as_array().unwrap();
    let of_kind = |kind: &str| {
        events
            .iter()
            .filter(move |event| event["ph"] == kind)
            .collect::<Vec<_>>()
    };
    let names: Vec<_> = of_kind("M")
        .iter()
        .map(|event| event["args"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "a \"name\" \\ \n".to_owned(),
            format!("region at {:#x}", ours[1])
        ]
    );
    let faults = of_kind("X");
    let told: Vec<_> = faults
        .iter()
        .map(|event| {
            (
                event["name"].as_str().unwrap(),
                event["args"]["offset"].clone(),
            )
        })
        .collect();
    let expected = [
        ("write committed", 0),
        ("write committed", page(1)),
        ("write committed", page(7)),
        ("read limited", page(5)),
    ];
    assert_eq!(
        told,
        expected.map(|(name, offset)| (name, serde_json::Value::from(offset)))
    );
    assert!(
        faults
            .iter()
            .all(|event| event["ts"].as_f64().unwrap() >= 0.0
                && event["dur"].as_f64().unwrap() > 0.0)
    );
    assert!(faults.iter().all(|event| event["tid"] == faults[0]["tid"]));
    assert_eq!(faults[0]["pid"], faults[3]["pid"]);
    assert_ne!(faults[0]["pid"], faults[2]["pid"]);
    let committed: Vec<_> = of_kind("C")
        .iter()
        .map(|event| event["args"]["bytes"].as_u64().unwrap())
        .collect();
    assert_eq!(committed, [1, 2, 1, 2].map(|pages| page(pages) as u64));
    // A trace without events is valid, too.
    let empty = TraceWriter::new(Vec::new()).unwrap().finish().unwrap();
    assert!(
        serde_json::from_slice::<serde_json::Value>(&empty).unwrap()["traceEvents"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}
