//! stub
#[derive(Debug)]
pub struct Foreign;
impl Foreign {
    /// stub
    pub fn parse(_: &[u8]) -> Result<Self, String> {
        Ok(Self)
    }
}
