"""`spot-edge doctor`: what the machine is and what is wrong with it. No part of it takes another down."""
