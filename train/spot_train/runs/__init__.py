"""Write, pack, restore and average run directories."""
