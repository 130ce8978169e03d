"""What the figures mean: KPIs as pure functions of sums, and the answers that pages and API give."""
