"""MES and ERP: orders, lots, products, shifts, stock and quality results, over REST or SQL."""
