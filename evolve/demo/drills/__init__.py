"""The drills' coder: mends the defect that is left and slips in a fault which no replay can show."""
