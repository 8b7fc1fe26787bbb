#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guard { pub numbers: bool, pub dates: bool, pub ids: bool, pub negation: bool }
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(Vec<u8>);
impl Facts { pub fn of(t: &str) -> Facts { Facts(t.bytes().filter(u8::is_ascii_digit).collect()) } pub fn encode(&self) -> Vec<u8> { self.0.clone() } pub fn decode(b: &[u8]) -> Option<Facts> { Some(Facts(b.to_vec())) } }
impl Guard { pub fn differs(&self, a: &Facts, b: &Facts) -> Option<()> { (a != b).then_some(()) } }
