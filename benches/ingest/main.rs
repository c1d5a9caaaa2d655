//! What cameras cost: CPU time and memory of the real program while it pulls
//! a hundred of them and nobody watches. See `benches/README.md`.

mod clip;
mod farm;
mod gateway;

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};

use clip::{Clip, Rhythm};
use farm::FarmOptions;
use gateway::{Gateway, Usage};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures what pulling cameras costs.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Role>,
    #[arg(long, default_value_t = 100)]
    cameras: u32,
    #[command(flatten)]
    rhythm: Rhythm,
    /// One of them alone; else one after the other.
    #[arg(long)]
    transport: Option<Transport>,
    /// `on` cuts HLS all the time, `off` only for viewers, of which there are none.
    #[arg(long, default_value = "off")]
    hls: Switch,
    /// An HLS window in seconds, which is kept though nobody watches; with
    /// `--hls on` it is full before the measurement. Without one, there is what a
    /// player begins with.
    #[arg(long)]
    hls_window: Option<u64>,
    /// How long to measure.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// One line of JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Role {
    Farm(FarmOptions),
    /// CPU and memory of any process, such as another gateway on the farm.
    Process {
        id: u32,
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, ValueEnum)]
enum Transport {
    Tcp,
    Udp,
}

/// The farm, in a process of its own; killed when dropped.
struct Farm {
    child: Child,
    address: String,
}

impl Drop for Farm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.command {
        Some(Role::Farm(farm)) => farm::run(farm).map_err(Into::into).map(|()| true),
        Some(Role::Process { id, seconds }) => process(id, seconds).map(|()| true),
        None => benches(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start_farm(options: &Options) -> Result<Farm> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["farm", "--listen", "127.0.0.1:0"]);
    command.args(["--cameras", &options.cameras.to_string()]);
    command.args(["--mbit", &options.rhythm.mbit.to_string()]);
    command.args(["--fps", &options.rhythm.fps.to_string()]);
    if options.rhythm.audio {
        command.arg("--audio");
    }
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut address)?;
    Ok(Farm { child, address: address.trim().to_owned() })
}

/// Each transport that is asked for; `false` when frames were lost.
fn benches(options: &Options) -> Result<bool> {
    let both = [Transport::Tcp, Transport::Udp];
    let asked = options.transport.as_ref().map_or(&both[..], std::slice::from_ref);
    let mut whole = true;
    for transport in asked {
        whole &= bench(options, *transport)?;
    }
    Ok(whole)
}

fn bench(options: &Options, transport: Transport) -> Result<bool> {
    let farm = start_farm(options)?;
    let transport = match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let stream = |n: u32, on_demand: bool| {
        let source = format!("rtsp://{}/camera-{n}", farm.address);
        let stream = json!({"source": source, "transport": transport, "on_demand": on_demand});
        (format!("camera-{n}"), stream)
    };
    let always = options.hls == Switch::On;
    let mut hls = json!({"always": always});
    if let Some(seconds) = options.hls_window {
        hls["window"] = json!(format!("{seconds}s"));
    }

    // The program itself: one camera that nobody asks for.
    let idle = Gateway::start(&Value::from_iter([stream(1, true)]), &hls)?;
    std::thread::sleep(Duration::from_secs(1));
    let base = idle.usage()?;
    drop(idle);

    let streams = (1..=options.cameras).map(|n| stream(n, false));
    let gateway = Gateway::start(&streams.collect(), &hls)?;
    gateway.wait_for_live(options.cameras)?;
    // Rings hold some seconds, the window and what is left for latecomers more.
    let settle = if always { options.hls_window.unwrap_or(12) + 12 } else { 8 };
    std::thread::sleep(Duration::from_secs(settle));
    eprintln!(
        "{} cameras live, measuring process {} for {} s",
        options.cameras,
        gateway.process(),
        options.seconds
    );

    let count = |name| gateway.metric(name, "media=\"video\"");
    let begun = gateway.usage()?;
    let farm_begun = gateway::usage(farm.child.id())?;
    let (frames, bytes) =
        (count("porthole_source_frames_total")?, count("porthole_source_received_bytes_total")?);
    // Between the two moments that frames are counted at: on a busy machine
    // an answer takes a while.
    let counted = Instant::now();
    let mut held: Vec<u64> = Vec::new();
    // Memory in ten steps: in a long run it shows whether it grows.
    for step in 1..=10 {
        let until = begun.at + Duration::from_secs(options.seconds) * step / 10;
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        held.push(gateway.usage()?.rss_bytes);
    }
    let ended = gateway.usage()?;
    let farm_ended = gateway::usage(farm.child.id())?;
    let seconds = (ended.at - begun.at).as_secs_f64();
    let frames = count("porthole_source_frames_total")? - frames;
    let bytes = count("porthole_source_received_bytes_total")? - bytes;

    let clip = Clip::new(&options.rhythm);
    let each_second = f64::from(options.cameras) * counted.elapsed().as_secs_f64();
    let frames_due = each_second * f64::from(options.rhythm.fps);
    let bytes_due = each_second * clip.bytes_a_second() as f64;
    let lost = gateway.metric("porthole_source_rtp_packets_lost_total", "")?;
    let discarded = gateway.metric("porthole_source_frames_discarded_total", "")?;
    let connects = gateway.metric("porthole_source_connects_total", "")?;
    let near = |got: f64, due: f64| (got / due - 1.0).abs() < 0.01;
    let whole = near(frames, frames_due)
        && near(bytes, bytes_due)
        && lost + discarded == 0.0
        && connects == f64::from(options.cameras);

    let pool = |pool| gateway.metric("porthole_buffer_bytes", pool);
    let (rings, windows) = (pool("\"bus\"")?, pool("\"hls\"")?);
    let switches = (ended.context_switches - begun.context_switches) as f64;
    let more = ended.rss_bytes as f64 - base.rss_bytes as f64 - rings - windows;
    let report = [
        ("cameras", json!(options.cameras)),
        ("transport", json!(transport)),
        ("mbit_each", json!(clip.bytes_a_second() as f64 * 8.0 / 1e6)),
        ("packets_a_second_each", json!(clip.packets_a_second())),
        ("hls_always", json!(always)),
        ("seconds", json!(seconds)),
        ("cpu_percent", percent(ended.cpu_seconds - begun.cpu_seconds, seconds)),
        ("cpu_percent_kernel", percent(ended.kernel_seconds - begun.kernel_seconds, seconds)),
        ("context_switches_a_second", json!((switches / seconds).round())),
        ("rss_mb", mb(ended.rss_bytes as f64)),
        ("pss_mb", mb(ended.pss_bytes as f64)),
        ("base_rss_mb", mb(base.rss_bytes as f64)),
        ("rings_mb", mb(rings)),
        ("windows_mb", mb(windows)),
        ("more_kb_a_camera", json!((more / 1e3 / f64::from(options.cameras)).round())),
        ("rss_mb_over_time", held.iter().map(|&bytes| mb(bytes as f64)).collect()),
        ("frames_of_due", json!(frames / frames_due)),
        ("bytes_of_due", json!(bytes / bytes_due)),
        ("packets_lost", json!(lost)),
        ("frames_discarded", json!(discarded)),
        ("connects", json!(connects)),
        ("nothing_lost", json!(whole)),
        ("farm_cpu_percent", percent(farm_ended.cpu_seconds - farm_begun.cpu_seconds, seconds)),
    ];
    show(&report, options.json);
    Ok(whole)
}

/// Any process over some seconds.
fn process(id: u32, seconds: u64) -> Result<()> {
    let begun = gateway::usage(id)?;
    std::thread::sleep(Duration::from_secs(seconds));
    let ended: Usage = gateway::usage(id)?;
    let seconds = (ended.at - begun.at).as_secs_f64();
    let report = [
        ("seconds", json!(seconds)),
        ("cpu_percent", percent(ended.cpu_seconds - begun.cpu_seconds, seconds)),
        ("cpu_percent_kernel", percent(ended.kernel_seconds - begun.kernel_seconds, seconds)),
        ("rss_mb", mb(ended.rss_bytes as f64)),
        ("pss_mb", mb(ended.pss_bytes as f64)),
    ];
    show(&report, false);
    Ok(())
}

fn show(report: &[(&str, Value)], as_json: bool) {
    if as_json {
        let report: Value = report.iter().cloned().collect();
        println!("{report}");
        return;
    }
    for (name, value) in report {
        let value =
            value.as_f64().map_or(value.to_string(), |n| ((n * 1e3).round() / 1e3).to_string());
        println!("{:<28}{value}", name.replace('_', " "));
    }
}

/// Of one core, to a tenth.
fn percent(cpu_seconds: f64, seconds: f64) -> Value {
    json!((cpu_seconds / seconds * 1e3).round() / 10.0)
}

/// To a tenth.
fn mb(bytes: f64) -> Value {
    json!((bytes / 1e5).round() / 10.0)
}
