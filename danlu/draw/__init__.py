"""Drawing: charts as SVG and pages that hold everything they show. No dependency."""
