"""What is trained when the base stays frozen: LoRA now; recurrent states later."""
