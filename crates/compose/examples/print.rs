//! x
#![allow(clippy::unwrap_used)]
use compose::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let request =
        Request { current_dir: a[1].clone(), environment: std::env::vars().collect(), ..Request::default() };
    let t = std::time::Instant::now();
    let c = Config {
        request,
        format: Some(if a[2] == "json" { Form::Json } else { Form::Yaml }),
        show: if a[2] == "vars" { Show::Variables } else { Show::Model },
        ..Config::default()
    };
    match c.print(&Disk::default(), None) {
        Ok(p) => print!("{}", p.text),
        Err(e) => eprintln!("{e}"),
    }
    eprintln!("{:?}", t.elapsed());
}
